"""What goes over the wire to and from vLLM: request bodies, JSON replies, refusals and server-sent events."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import orjson

from csqa_loop.answering.model.http_pool import BrokenError, Reply
from csqa_loop.answering.model.replica import Replica
from csqa_loop.errors import TransientError
from csqa_loop.events import ChatMessage, Sampling


async def read_json(replica: Replica, response: Reply, seconds: float) -> dict[str, Any]:
    """The whole reply.

    Raises:
        TransientError: the replica broke off.
    """
    try:
        async with replica.bound(seconds):
            reply: dict[str, Any] = orjson.loads(await response.read())
    except (BrokenError, TimeoutError, orjson.JSONDecodeError) as error:
        msg = f"model server {replica.url} broke off its answer: {error!r}"
        raise TransientError(msg) from error
    finally:
        response.close()
    return reply


async def read_refusal(response: Reply) -> str:
    """Why the server refused; leaves the connection free for others."""
    content = b""
    with contextlib.suppress(BrokenError):  # the status alone says why
        content = await response.read()
    response.close()
    return detail_of(content)


def detail_of(reply: bytes | dict[str, Any]) -> str:
    """The message of a vLLM error, in one line."""
    try:
        body = orjson.loads(reply) if isinstance(reply, bytes) else reply
        error = body.get("error", body)
        return str(error.get("message", error) if isinstance(error, dict) else error)[:500]
    except (orjson.JSONDecodeError, AttributeError):
        return repr(reply)[:500]


async def server_sent(replica: Replica, response: Reply, seconds: float) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a server-sent event stream, up to `[DONE]`."""
    rest = b""
    while True:
        try:
            # One bound a piece: a time-out that spans a yield would go off in the reader's code.
            async with replica.bound(seconds):
                piece = await response.piece()
            if piece is None:
                return
            *lines, rest = (rest + piece).split(b"\n")
            data = (line[6:] for line in lines if line.startswith(b"data: "))
            events: list[dict[str, Any]] = [orjson.loads(event) for event in data if event.strip() != b"[DONE]"]
        except (BrokenError, TimeoutError, orjson.JSONDecodeError) as error:
            msg = f"model server {replica.url} broke off its answer: {error!r}"
            raise TransientError(msg) from error
        for event in events:
            yield event


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


def logprobs_of(choice: dict[str, Any]) -> list[float]:
    """Natural-log probabilities of the tokens of one choice or one streamed piece."""
    content = (choice.get("logprobs") or {}).get("content") or ()
    return [token["logprob"] for token in content]
