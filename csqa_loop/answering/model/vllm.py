"""vLLM over its OpenAI-compatible HTTP API: any number of replicas behind one object.

A replica that lacks an adapter answers 404 and is passed over. A replica that stops answering is noticed by a probe, also when it hangs
with its port open, so that a request fails within seconds although a generation may take a minute.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import orjson

from csqa_loop.answering.model.generation import GrowingAnswer, generation_of
from csqa_loop.answering.model.http_pool import BrokenError, ConnectError, Reply
from csqa_loop.answering.model.replica import Replica
from csqa_loop.answering.model.server import Delta, Generation
from csqa_loop.answering.model.wire import Patience, chat_body, naming, plain, read_json, read_refusal, streamed, wire_bytes
from csqa_loop.answering.rules.replies import OddReplyError, detail_of, forced_logprob, parsed, token_ids
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import BASE, ChatMessage, Sampling
from csqa_loop.settings import ModelServerSettings

R = TypeVar("R")
_CONNECT_SECONDS = 2.0
_ADMIN_SECONDS = 30.0
"""Loading an adapter reads a few megabytes to a few hundred."""
_FORCED_AT_ONCE = 8
"""Tokens of one answer that are scored at once."""
_CHAT = "/v1/chat/completions"
_OUR_FAULT = (400, 413, 422)


class VllmServer:
    """Implements `ModelServer`. `start` begins probing; without it every call still works, only a hung replica is found later."""

    def __init__(self, urls: Sequence[str], settings: ModelServerSettings, adapters: Path) -> None:
        self._adapters = adapters
        self._settings = settings
        self._limit = wire_bytes(settings)
        # Probes and loading have connections of their own: when requests for answers use up all others, that is load and no outage.
        # Environment proxies are for the internet, never for a model server.
        self._client = httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(_ADMIN_SECONDS, connect=_CONNECT_SECONDS))
        self._replicas = [Replica(url.rstrip("/"), self._client, settings.connections) for url in urls]
        self._next = 0
        self._probes: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to watch the replicas. A replica that is down is no error: it is used when it comes."""
        self._probes = [asyncio.create_task(replica.watch(), name=f"probe {replica.url}") for replica in self._replicas]

    async def stop(self) -> None:
        """End the probes and close the connections."""
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)
        self._probes = []
        for replica in self._replicas:
            replica.pool.close()
        await self._client.aclose()

    @property
    def answering(self) -> bool:
        """Whether some replica answered its last probe."""
        return any(replica.up and replica.answered for replica in self._replicas)

    async def generate(
        self, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling, *, fallback: str, stop: Sequence[str] = ()
    ) -> Generation:
        """See `ModelServer.generate`."""
        patience = Patience(self._settings, streamed=False)
        name, replica, response = await self._first_that_takes(
            _CHAT, chat_body(messages, sampling, stop, stream=False), dict.fromkeys((adapter, fallback, BASE)), patience
        )
        reply = await read_json(replica, response, patience, self._limit)
        with naming(replica.url):
            generation = generation_of(name, reply)
            self._check_size(len(generation.text.encode()))
        return generation

    async def stream(
        self, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling, *, fallback: str, stop: Sequence[str] = ()
    ) -> AsyncIterator[Delta]:
        """See `ModelServer.stream`.

        Raises:
            TransientError: as `generate`; also when the replica broke off after the first piece: no other can continue it.
        """
        patience = Patience(self._settings, streamed=True)
        name, replica, response = await self._first_that_takes(
            _CHAT, chat_body(messages, sampling, stop, stream=True), dict.fromkeys((adapter, fallback, BASE)), patience
        )
        answer = GrowingAnswer(name)
        try:
            async for piece in streamed(replica, response, patience, self._limit):
                answer.add(piece)
                with naming(replica.url):
                    self._check_size(answer.size)
                if piece.text:
                    yield Delta(piece.text)
                    patience.token_came()
                if answer.finish_reason:
                    patience.finished()
        except TransientError:
            if not answer.finish_reason:  # else it is whole, and only the count of its tokens is missing
                raise
        finally:
            response.close()  # also what makes vLLM stop generating for a reader who has left
        with naming(replica.url):
            final = answer.whole()
        yield Delta("", final)

    async def score(self, adapter: str, messages: Sequence[ChatMessage], answer: str) -> tuple[float, int]:
        """See `ModelServer.score`. No fallback: another adapter's score would be a wrong figure.

        Prompt and answer are tokenised apart and joined as ids, so the boundary between them is exact. The server's own chat template
        makes the prompt. Every token of the answer is forced after those before it, and its probability before forcing is read: asking
        for the probabilities of a prompt instead kills vLLM's engine on a CPU when an adapter and another request share its batch.

        Raises:
            TransientError: no replica that answers holds `adapter`.
            PermanentError: the server refused the request (too long, say).
        """
        chat = {"messages": plain(messages), "add_generation_prompt": True}
        prompt = await self._ask("/tokenize", chat, (BASE,), token_ids)
        tokens = await self._ask("/tokenize", {"prompt": answer, "add_special_tokens": False}, (BASE,), token_ids) if answer else []
        forced = asyncio.Semaphore(_FORCED_AT_ONCE)

        async def logprob(place: int) -> float:
            body = {
                "prompt": [*prompt, *tokens[:place]],
                "max_tokens": 1,
                "temperature": 0.0,
                "logprobs": 0,
                "allowed_token_ids": [tokens[place]],
            }
            async with forced:
                return await self._ask("/v1/completions", body, (adapter,), forced_logprob)

        return math.fsum(await asyncio.gather(*map(logprob, range(len(tokens))))), len(tokens)

    async def probe(self, replica: str, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling) -> Generation:
        """See `ModelServer.probe`."""
        response = await self._admin(replica, _CHAT, chat_body(messages, sampling, (), stream=False)(adapter))
        if response.status_code != httpx.codes.OK:
            msg = f"model server {replica} answers nothing with {adapter}: {response.status_code}: {detail_of(response.content)}"
            raise PermanentError(msg)
        try:
            return generation_of(adapter, parsed(response.content))
        except OddReplyError as error:
            msg = f"model server {replica} answers with {adapter} what is no completion: it {error}"
            raise PermanentError(msg) from error

    @property
    def live(self) -> tuple[str, ...]:
        """See `ModelServer.live`."""
        return tuple(replica.url for replica in self._replicas if replica.up)

    async def serves(self, replica: str) -> frozenset[str] | None:
        """See `ModelServer.serves`."""
        return await self._named(replica).models()

    async def resident(self) -> dict[str, frozenset[str]]:
        """See `ModelServer.resident`."""
        live = self.live
        answers = await asyncio.gather(*map(self.serves, live))
        return {replica: names for replica, names in zip(live, answers, strict=True) if names is not None}

    async def load(self, replica: str, adapter: str) -> None:
        """See `ModelServer.load`. The replica reads the folder itself: it must see the same path."""
        if adapter == BASE:
            return
        path = str((self._adapters / adapter).resolve())
        response = await self._admin(replica, "/v1/load_lora_adapter", orjson.dumps({"lora_name": adapter, "lora_path": path}))
        self._named(replica).forget_missing(adapter)
        if response.status_code == httpx.codes.OK or "already been loaded" in response.text:
            return
        msg = f"model server {replica} refused adapter {adapter} from {path}: {detail_of(response.content)}"
        raise PermanentError(msg)

    async def unload(self, replica: str, adapter: str) -> None:
        """See `ModelServer.unload`."""
        if adapter == BASE:
            return
        response = await self._admin(replica, "/v1/unload_lora_adapter", orjson.dumps({"lora_name": adapter}))
        if response.status_code not in {httpx.codes.OK, httpx.codes.NOT_FOUND}:
            msg = f"model server {replica} did not unload adapter {adapter}: {detail_of(response.content)}"
            raise PermanentError(msg)

    def _named(self, url: str) -> Replica:
        for replica in self._replicas:
            if replica.url == url.rstrip("/"):
                return replica
        msg = f"{url} is not one of the model servers; they are {', '.join(replica.url for replica in self._replicas)}"
        raise PermanentError(msg)

    async def _admin(self, url: str, path: str, body: bytes) -> httpx.Response:
        replica = self._named(url)
        try:
            async with replica.bound(_ADMIN_SECONDS):
                response = await self._client.post(replica.url + path, content=body, headers={"Content-Type": "application/json"})
        except (httpx.HTTPError, TimeoutError) as error:
            msg = f"model server {url} does not answer {path}: {error!r}"
            raise TransientError(msg) from error
        if response.status_code in {429, 502, 503, 504}:
            msg = f"model server {url} is not ready for {path}: {response.status_code}"
            raise TransientError(msg)
        return response

    def _check_size(self, size: int) -> None:
        if size > self._settings.max_answer_bytes:
            raise OddReplyError(f"sent an answer of more than {self._settings.max_answer_bytes} bytes")

    async def _ask(self, path: str, body: dict[str, Any], names: Iterable[str], read: Callable[[dict[str, Any]], R]) -> R:
        patience = Patience(self._settings, streamed=False)
        _, replica, response = await self._first_that_takes(path, lambda name: orjson.dumps({"model": name, **body}), names, patience)
        reply = await read_json(replica, response, patience, self._limit)
        with naming(replica.url):
            return read(reply)

    async def _first_that_takes(
        self, path: str, body: Callable[[str], bytes], names: Iterable[str], patience: Patience
    ) -> tuple[str, Replica, Reply]:
        """The open 200 response of the first replica that holds the first of `names` that any replica holds."""
        names = list(names)
        failures: list[str] = []
        for name in names:
            content = body(name)
            for replica in self._in_turn():
                if replica.lacks(name):
                    continue
                response = await _send(replica, path, content, patience, failures)
                if response is None:
                    continue
                if response.status == httpx.codes.OK:
                    return name, replica, response
                detail = await read_refusal(response)
                if response.status == httpx.codes.NOT_FOUND:
                    replica.note_missing(name)
                elif response.status in _OUR_FAULT:
                    msg = f"the model server refused the request: {detail}"
                    raise PermanentError(msg)
                else:
                    failures.append(f"{replica.url} answers {response.status}: {detail}")
        down = [replica.url for replica in self._replicas if not replica.up]
        reasons = [*failures, *(f"{url} is down" for url in down)] or [f"none holds {' or '.join(names)}"]
        msg = f"no model server can answer: {'; '.join(dict.fromkeys(reasons))}"
        raise TransientError(msg)

    def _in_turn(self) -> list[Replica]:
        """Replicas that are up, starting with another one each time."""
        self._next += 1
        start = self._next % len(self._replicas) if self._replicas else 0
        return [replica for replica in (*self._replicas[start:], *self._replicas[:start]) if replica.up]


async def _send(replica: Replica, path: str, content: bytes, patience: Patience, failures: list[str]) -> Reply | None:
    """The reply with its body unread; None, with the reason in `failures`, where the replica gave none.

    A kept connection may be closed by the other side just when it is used again: one more try on a fresh one tells that from an outage.
    """
    for attempt in (1, 2):
        try:
            async with replica.bound(patience.left):
                return await replica.pool.post(path, content)
        except BrokenError as error:
            if attempt == 2:
                failures.append(f"{replica.url} breaks off: {error}")
        except (ConnectError, TimeoutError) as error:
            failures.append(f"{replica.url} does not answer: {str(error) or patience.ended()}")
            return None
    return None
