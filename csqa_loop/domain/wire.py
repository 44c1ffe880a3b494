"""Records to events, one at a time: a bad record is refused by name and its neighbours are not touched."""

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from csqa_loop.domain.errors import PermanentError
from csqa_loop.domain.events import EVENTS_OF_TOPIC, Event
from csqa_loop.domain.topics import BAD_CASES

_OURS = re.compile(rb'\{"schema_version":1,"type":"([A-Za-z]+)"')
"""How every record begins that this system's own writers made."""
_NAMED_AFTER = frozenset({BAD_CASES})
"""Topics whose first kind needs no `type`: bad cases came first, and their frontends know of no other."""


def decode(topic: str, value: bytes | None) -> Event:
    """The event in one record of `topic`.

    Raises:
        PermanentError: the value is empty, not JSON, of an unknown type, or a field is missing or wrong. The message names the field.
    """
    kinds = EVENTS_OF_TOPIC.get(topic)
    if kinds is None:
        msg = f"topic {topic!r} is not one of this system's; known: {', '.join(EVENTS_OF_TOPIC)}"
        raise PermanentError(msg)
    if value is None:
        msg = f"{topic}: the record has no value; a JSON event is expected (a withdrawal is a value too)"
        raise PermanentError(msg)
    return _quickly(kinds, value) or _carefully(topic, kinds, value)


def _quickly(kinds: Mapping[str, type[Event]], value: bytes) -> Event | None:
    """Nearly all records, parsed and validated in one go, at half the cost. None: whoever takes care tells what is wrong, if anything is."""
    begins = _OURS.match(value)
    kind = kinds.get(begins[1].decode()) if begins else None
    # The fast parser takes numbers that JSON does not know. Inside a text these words only cost time.
    if kind is None or b"NaN" in value or b"Infinity" in value:
        return None
    try:
        event = kind.__pydantic_validator__.validate_json(value)
    except ValidationError:
        return None
    return event if isinstance(event, Event) and "event_id" in event.model_fields_set else None


def _carefully(topic: str, kinds: Mapping[str, type[Event]], value: bytes) -> Event:
    body = _body(topic, value)
    # A frontend that publishes what the topic is named after need not name it: the first kind is the topic's own.
    name = body.get("type", next(iter(kinds)) if len(kinds) == 1 or topic in _NAMED_AFTER else None)
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        msg = f"{topic}: field 'type' is {name!r}; it must be one of {', '.join(kinds)}"
        raise PermanentError(msg)
    for field in ("event_id", "occurred_at"):
        if field not in body:
            msg = f"{topic}: {name} lacks {field!r}; every event needs its own event_id (a UUID) and occurred_at (ISO 8601 with offset)"
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
        return json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, or an integer of thousands of digits
        msg = f"{topic}: the value is not JSON in UTF-8 ({error})"
        raise PermanentError(msg) from error


def _refuse(constant: str) -> float:
    msg = f"{constant} is no JSON number"
    raise ValueError(msg)
