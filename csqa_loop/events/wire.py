"""Records to events, one at a time: a bad record is refused by name and its neighbours are not touched."""

import json
from typing import Any

import orjson
from pydantic import ValidationError

from csqa_loop.errors import PermanentError
from csqa_loop.events import EVENTS_OF_TOPIC, Event
from csqa_loop.events.topics import BAD_CASES, DECISIONS, DEPLOYMENTS, TRAINING

_NAMED_AFTER = frozenset({BAD_CASES})
"""Topics whose first kind needs no `type`: bad cases came first, and their frontends know of no other."""
_MEASURED = frozenset({TRAINING, DECISIONS, DEPLOYMENTS})
"""Topics whose events hold numbers that were computed. In `csqa.chats` the models refuse infinite ones, and the others hold none."""
_OWN = ("event_id", "occurred_at")


def decode(topic: str, value: bytes | None) -> Event:
    """The event in one record of `topic`.

    Raises:
        PermanentError: the value is empty, not JSON, of an unknown type, or a field is missing or wrong. The message names the field.
            Nothing else is raised, whatever the bytes: every consumer of the log rests on that.
    """
    try:
        return _decoded(topic, value)
    except PermanentError:
        raise
    except Exception as error:  # a fault of ours that these bytes bring out
        msg = f"{topic}: the record cannot be read: {type(error).__name__}: {str(error)[:200]}"
        raise PermanentError(msg) from error


def _decoded(topic: str, value: bytes | None) -> Event:
    kinds = EVENTS_OF_TOPIC.get(topic)
    if kinds is None:
        msg = f"topic {topic!r} is not one of this system's; known: {', '.join(EVENTS_OF_TOPIC)}"
        raise PermanentError(msg)
    if value is None:
        msg = f"{topic}: the record has no value; a JSON event is expected (a withdrawal is a value too)"
        raise PermanentError(msg)
    body = _body(topic, value)
    # A frontend that publishes what the topic is named after need not name it: the first kind is the topic's own.
    name = body.get("type", next(iter(kinds)) if len(kinds) == 1 or topic in _NAMED_AFTER else None)
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        msg = f"{topic}: field 'type' is {repr(name)[:80]}; it must be one of {', '.join(kinds)}"
        raise PermanentError(msg)
    for field in _OWN:
        if field not in body:
            msg = f"{topic}: {name} lacks {field!r}; every event needs its own event_id (a UUID) and occurred_at (ISO 8601 with offset)"
            raise PermanentError(msg)
    if topic in _MEASURED and _is_infinite(body):
        msg = f"{topic}: {name} holds a number beyond 1e308; it would be read back as none"
        raise PermanentError(msg)
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"{topic}: {name}.{where} is {str(first['input'])[:80]!r}: {first['msg']} ({error.error_count()} problem(s) in all)"
        raise PermanentError(msg) from error


def _body(topic: str, value: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError:
        body = _slowly(topic, value)
    if not isinstance(body, dict):
        msg = f"{topic}: the value is a JSON {type(body).__name__}; an object is expected"
        raise PermanentError(msg)
    return body


def _slowly(topic: str, value: bytes) -> Any:
    """What the fast parser refuses, read by the standard one: it takes a byte order mark and UTF-16 as well, and tells what is wrong."""
    try:
        body = json.loads(value, parse_constant=_refuse)
        json.dumps(body, ensure_ascii=False).encode()  # an escape of half a character is text to this parser, and nothing can store it
        return body
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, half a character, not JSON, or an integer of thousands of digits
        msg = f"{topic}: the value is not JSON in UTF-8 ({error})"
        raise PermanentError(msg) from error


def _is_infinite(value: Any) -> bool:
    """Whether a number in it is one that JSON cannot write: `1e400` is read as infinity."""
    if isinstance(value, dict):
        return any(map(_is_infinite, value.values()))
    if isinstance(value, list):
        return any(map(_is_infinite, value))
    return isinstance(value, int | float) and not -1e308 < value < 1e308


def _refuse(constant: str) -> float:
    msg = f"{constant} is no JSON number"
    raise ValueError(msg)
