"""Records as nobody should send them: raw bytes, and events with one field replaced by a value that is hard to take."""

import json
from collections.abc import Iterable
from typing import Any, Self

from hypothesis import strategies as st

from csqa_loop.events import EVENTS_OF_TOPIC
from csqa_loop.events.topics import FACT_TOPICS
from tests.unit.events.some_events import some_event

SURROGATE = r"\ud83d"
_PLACE = '"@@"'
VALUES = (
    f'"{SURROGATE}"', f'"a{SURROGATE}b"', f'"{SURROGATE * 2}"', f'["{SURROGATE}"]', f'{{"{SURROGATE}": 1}}', f'{{"{SURROGATE}": "{SURROGATE}"}}',
    r'"\u0000"', r'"a\u0000b"', r'"\u202e\ufeff\uffff"', '""', '" "', f'"{"x" * 300}"', "null", "true", "[]", "{}", "[null]", "[[]]", "[{}]",
    "0", "-1", "-0.0", "1e400", "-1e400", "1e-400", "NaN", "Infinity", "-Infinity", "2147483648", "9223372036854775808", "9" * 40, "9" * 400, "9" * 5000,
    "[" * 400 + "]" * 400, "[" * 5000 + "]" * 5000, '{"a": ' * 400 + "1" + "}" * 400, '{"a": 1, "a": 2}', '"0001-01-01T00:00:00+14:00"',
    '"0001-01-01T00:00:00Z"', '"9999-12-31T23:59:59.999999Z"', '"9999-12-31T23:59:59-14:00"', '"2026-01-05"', '"2026-01-05T09:00:00"', "253402300800",
    '"00000000-0000-0000-0000-000000000000"', '"base"', '"model"', '"up"', '"../../etc/passwd"', '"none"', '"default"', '"c"',
)  # fmt: skip
"""As they stand in JSON."""
_VALUE = st.integers(0, len(VALUES) - 1).map(lambda number: VALUES[number])


def _bodies(topics: Iterable[str]) -> list[tuple[str, dict[str, Any]]]:
    """(topic, body) of an example of every kind in these topics."""
    return [(topic, json.loads(some_event(kind).to_json())) for topic in topics for kind in EVENTS_OF_TOPIC[topic].values()]


def paths_of(body: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where values stand in a body, inner ones too."""
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list | tuple) else ()
    return [path for name, value in inner for path in ((*before, name), *paths_of(value, (*before, name)))]


def with_value(body: dict[str, Any], path: tuple[Any, ...], value: str) -> bytes:
    """The body in JSON with `value` in the place of `path`."""
    changed = json.loads(json.dumps(body))
    place = changed
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = "@@"
    return json.dumps(changed).replace(_PLACE, value).encode()


@st.composite
def _mutated(draw: st.DrawFn, topics: Iterable[str]) -> tuple[str, bytes]:
    topic, example = draw(st.sampled_from(_bodies(topics)))
    body = example | {"event_id": str(draw(st.uuids()))}
    path = draw(st.sampled_from([*paths_of(body), ("added",)]))
    value = with_value(body, path, draw(_VALUE))
    if draw(st.booleans()):
        name = draw(st.sampled_from(sorted(body)))
        value = b'{"%s": %s, ' % (name.encode(), draw(_VALUE).encode()) + value[1:]
    return topic, value


def _raw(topics: Iterable[str]) -> st.SearchStrategy[tuple[str, bytes | None]]:
    texts = _VALUE.map(str.encode)
    claims = texts.map(lambda value: b'{"event_id": %s}' % value)
    return st.tuples(st.sampled_from(tuple(topics)), st.one_of(st.none(), st.binary(max_size=60), texts, claims))


KEYS = st.one_of(st.none(), st.just(b""), st.just(b"\xff\xfe\x00"), st.just(b"c\x00"), st.binary(max_size=20), st.just(b"k" * 100_000))
VALUES_OF_RECORDS: st.SearchStrategy[tuple[str, bytes | None]] = st.one_of(_mutated(FACT_TOPICS), _raw(FACT_TOPICS))
"""(topic, value)."""


def odd_values(*topics: str) -> st.SearchStrategy[bytes | None]:
    """Values that lie in no topic where they should, or in one of these."""
    return st.one_of(_mutated(topics), _raw(topics)).map(lambda record: record[1])


class OddName(str):
    """A header's name that is these bytes on the wire, for builders in Python."""

    __slots__ = ("raw",)

    def __new__(cls, raw: bytes) -> Self:
        self = super().__new__(cls, "odd")
        self.raw = raw
        return self

    def encode(self, *_: object) -> bytes:
        return self.raw
