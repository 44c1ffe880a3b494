"""What a model server sent, as an answer or as the reason why it is none. The only place that looks into its replies."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

_LEAST_LOGPROB = -9999.0
"""vLLM's own stand-in for minus infinity."""
_SHOWN = 200
_GIVEN_UP = frozenset({"abort", "error", "cancelled"})
_TOOLS = frozenset({"tool_calls", "function_call"})
_SAID = frozenset({"length", "content_filter"})


class OddReplyError(ValueError):
    """A reply of which no answer can be made. The message goes on from "model server URL"."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one reply, or one event of a stream, adds to an answer."""

    text: str
    logprobs: tuple[float, ...] | None
    """Natural-log probabilities, one a token; None where they are no such numbers."""
    finish_reason: str
    """As sent; empty while the answer goes on."""
    prompt_tokens: int | None
    completion_tokens: int | None
    """None where the server does not count."""


def parsed(body: bytes) -> dict[str, Any]:
    """The JSON object in a reply.

    Raises:
        OddReplyError: it is none, or it is an error.
    """
    try:
        reply = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise OddReplyError(f"sent what is no JSON ({error}): {body[:_SHOWN]!r}") from error
    if not isinstance(reply, dict):
        raise OddReplyError(f"sent what is no JSON object: {body[:_SHOWN]!r}")
    if reply.get("error") or reply.get("object") == "error":
        raise OddReplyError(f"broke off its answer: {detail_of(reply)}")
    return reply


def detail_of(reply: bytes | dict[str, Any]) -> str:
    """The message of a vLLM error, in one line."""
    try:
        body = orjson.loads(reply) if isinstance(reply, bytes) else reply
        error = body.get("error") or body
        return str(error.get("message", error) if isinstance(error, dict) else error)[:500]
    except (orjson.JSONDecodeError, AttributeError):
        return repr(reply)[:500]


def streamed_piece(event: Mapping[str, Any]) -> Piece:
    """What one event of a stream adds; nothing, where it carries no choice.

    Raises:
        OddReplyError: a field that is there has another shape than OpenAI's.
    """
    choice = _choice(event)
    return _piece(event, choice, _object(choice, "delta"))


def whole_answer(reply: Mapping[str, Any]) -> Piece:
    """An answer in one piece.

    Raises:
        OddReplyError: it has no choice, no message, or another shape than OpenAI's.
    """
    choice = _choice(reply)
    message = _object(choice, "message")
    if not message:
        raise OddReplyError(f"sent an answer without a message: {repr(reply)[:_SHOWN]}")
    piece = _piece(reply, choice, message)
    if message.get("tool_calls") and not piece.text.strip():
        raise OddReplyError("called a tool instead of answering")
    return piece


def told_reason(reason: str, text: str) -> str:
    """Why the answer ended, in OpenAI's words: `stop`, `length` or `content_filter`.

    Raises:
        OddReplyError: it ended without being an answer.
    """
    if reason in _GIVEN_UP:
        raise OddReplyError(f"gave its answer up: finish_reason {reason!r}")
    if reason in _TOOLS and not text.strip():
        raise OddReplyError("called a tool instead of answering")
    return reason if reason in _SAID else "stop"


def token_ids(reply: Mapping[str, Any]) -> list[int]:
    """The tokens of a text.

    Raises:
        OddReplyError: it holds none.
    """
    tokens = reply.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise OddReplyError(f"tokenised to what are no token ids: {repr(reply)[:_SHOWN]}")
    return tokens


def forced_logprob(reply: Mapping[str, Any]) -> float:
    """Natural-log probability of the one token that was generated.

    Raises:
        OddReplyError: it holds none.
    """
    try:
        logprob = _choice(reply)["logprobs"]["token_logprobs"][0]
    except (KeyError, IndexError, TypeError) as error:
        raise OddReplyError(f"scored without a probability: {repr(reply)[:_SHOWN]}") from error
    if not isinstance(logprob, (int, float)):
        raise OddReplyError(f"scored with what is no number: {logprob!r}")
    return float(logprob)


def _piece(reply: Mapping[str, Any], choice: Mapping[str, Any], message: Mapping[str, Any]) -> Piece:
    reason = choice.get("finish_reason") or ""
    if not isinstance(reason, str):
        raise OddReplyError(f"sent a finish_reason that is no text: {repr(reason)[:_SHOWN]}")
    usage = reply.get("usage")
    counted = usage if isinstance(usage, dict) else {}
    return Piece(
        text=_text(message.get("content")),
        logprobs=_logprobs(choice.get("logprobs")),
        finish_reason=reason,
        prompt_tokens=_count(counted.get("prompt_tokens")),
        completion_tokens=_count(counted.get("completion_tokens")),
    )


def _choice(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """The choice that is ours; empty where there is none."""
    choices = reply.get("choices") or ()
    if not isinstance(choices, (list, tuple)) or not all(isinstance(choice, dict) for choice in choices):
        raise OddReplyError(f"sent choices of another shape: {repr(choices)[:_SHOWN]}")
    return next((choice for choice in choices if not choice.get("index")), {})


def _object(choice: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = choice.get(name) or {}
    if not isinstance(value, dict):
        raise OddReplyError(f"sent a {name} that is no object: {repr(value)[:_SHOWN]}")
    return value


def _text(content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        texts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, (str, dict))]
        return "".join(text for text in texts if isinstance(text, str))
    raise OddReplyError(f"sent content that is no text: {repr(content)[:_SHOWN]}")


def _logprobs(logprobs: object) -> tuple[float, ...] | None:
    if not logprobs:
        return ()
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if content is None and isinstance(logprobs, dict):
        return ()
    values = [token.get("logprob") if isinstance(token, dict) else None for token in content] if isinstance(content, list) else [None]
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        return None
    return tuple(min(max(float(value), _LEAST_LOGPROB), 0.0) for value in values if value is not None)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None
