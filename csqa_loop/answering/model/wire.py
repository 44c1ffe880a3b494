"""What goes over the wire to and from vLLM: request bodies, and replies read within bounds of time and size."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from csqa_loop.answering.model.http_pool import BrokenError, Reply, TooLargeError
from csqa_loop.answering.model.replica import Replica
from csqa_loop.answering.rules.event_stream import EventReader, OverlongEventError
from csqa_loop.answering.rules.replies import OddReplyError, Piece, detail_of, parsed, streamed_piece
from csqa_loop.errors import TransientError
from csqa_loop.events import ChatMessage, Sampling
from csqa_loop.settings import ModelServerSettings

_FRAMING = 64
"""Bytes on the wire for each byte of an answer: a token of four letters comes with its probability and its event's frame."""
_LONGEST_EVENT = 4 * 1024 * 1024
_REFUSAL_BYTES = 64 * 1024
_REFUSAL_SECONDS = 2.0
_EARLY_SECONDS = 0.005
"""uvloop's timers end at whole milliseconds, so a little before their time."""
_TAIL_SECONDS = 2.0
"""How long a finished answer waits for the count of its tokens."""
_END_SECONDS = 0.2
"""How long a connection may take to end its response after `[DONE]`; then it is closed instead of kept."""


class Patience:
    """How long an answer may still take, and what is said when it took longer."""

    def __init__(self, settings: ModelServerSettings, *, streamed: bool) -> None:
        now = time.monotonic()
        self._gap = settings.between_tokens_seconds
        self._end = now + settings.timeout_seconds
        self._whole = f"did not end its answer within {settings.timeout_seconds:g} s"
        self._next, self._late = self._end, self._whole
        if streamed:
            self._next, self._late = now + settings.first_token_seconds, f"sent no token within {settings.first_token_seconds:g} s"

    @property
    def until(self) -> float:
        """The moment, of `time.monotonic()`, at which it ends."""
        return min(self._next, self._end)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.until - time.monotonic()

    def token_came(self) -> None:
        """The next one has as long again."""
        self._next, self._late = time.monotonic() + self._gap, f"sent no further token within {self._gap:g} s"

    def finished(self) -> None:
        """Nothing but the count of tokens is waited for."""
        self._next = min(self._next, time.monotonic() + _TAIL_SECONDS)

    def ended(self) -> str:
        """What happened when the wait ended."""
        if self.left > _EARLY_SECONDS:
            return "broke off: its health is not answered any more"
        return self._late if self._next < self._end else self._whole


@contextmanager
def naming(url: str) -> Iterator[None]:
    """What is odd about a reply, as an error of the model server at `url`."""
    try:
        yield
    except (OddReplyError, OverlongEventError, TooLargeError) as error:
        verb = "" if isinstance(error, OddReplyError) else "sent "
        raise TransientError(f"model server {url} {verb}{error}") from error


def wire_bytes(settings: ModelServerSettings) -> int:
    """The longest reply that an answer may come in."""
    return settings.max_answer_bytes * _FRAMING


async def read_json(replica: Replica, response: Reply, patience: Patience, limit: int) -> dict[str, Any]:
    """The whole reply, of at most `limit` bytes.

    Raises:
        TransientError: the replica broke off, took too long, or sent something else.
    """
    with naming(replica.url):
        try:
            async with replica.bound(patience.left):
                body = await response.read(limit)
        except BrokenError as error:
            raise TransientError(f"model server {replica.url} broke off its answer: {error}") from error
        except TimeoutError as error:
            raise TransientError(f"model server {replica.url} {patience.ended()}") from error
        finally:
            response.close()
        return parsed(body)


async def read_refusal(response: Reply) -> str:
    """Why the server refused; leaves the connection free for others."""
    content = b""
    with contextlib.suppress(BrokenError, TooLargeError, TimeoutError):  # the status alone says why
        async with asyncio.timeout(_REFUSAL_SECONDS):
            content = await response.read(_REFUSAL_BYTES)
    response.close()
    return detail_of(content)


async def streamed(replica: Replica, response: Reply, patience: Patience, limit: int) -> AsyncIterator[Piece]:
    """What a stream of at most `limit` bytes adds to an answer, up to `[DONE]` or its end.

    Raises:
        TransientError: the replica broke off, took too long, or sent something else.
    """
    reader = EventReader(min(limit, _LONGEST_EVENT))
    received, events_seen, head = 0, 0, b""
    while True:
        try:
            # One bound a piece: a time-out that spans a yield would go off in the reader's code.
            async with replica.bound(patience.left):
                data = await response.piece()
        except BrokenError as error:
            raise TransientError(f"model server {replica.url} broke off its answer: {error}") from error
        except TimeoutError as error:
            raise TransientError(f"model server {replica.url} {patience.ended()}") from error
        received += len(data or b"")
        head = head or data or b""
        with naming(replica.url):
            if received > limit:
                raise TooLargeError(limit)
            events = reader.end() if data is None else reader.feed(data)
        for event in events:
            events_seen += 1
            if event.strip() == b"[DONE]":
                await _end(response)
                return
            with naming(replica.url):
                piece = streamed_piece(parsed(event))
            yield piece
        if data is None:
            if not events_seen:
                raise TransientError(f"model server {replica.url} sent no event stream: {head[:200]!r}")
            return


async def _end(response: Reply) -> None:
    """Read the end of the response, so that its connection can be kept. What a server goes on to say is for nobody."""
    with contextlib.suppress(BrokenError, TooLargeError, TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            await response.read(_REFUSAL_BYTES)


def plain(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    """Messages as the API takes them."""
    return [{"role": message.role, "content": message.content} for message in messages]


def chat_body(messages: Sequence[ChatMessage], sampling: Sampling, stop: Sequence[str], *, stream: bool) -> Callable[[str], bytes]:
    """A chat request, complete but for the model's name: the messages are the same for every adapter tried."""
    body: dict[str, Any] = {
        "messages": plain(messages),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "logprobs": True,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if stop:
        body["stop"] = list(stop)
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return lambda name: orjson.dumps({"model": name, **body})
