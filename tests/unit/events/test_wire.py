"""Records to events and back: whatever comes in is an event or is refused by name."""

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csqa_loop.errors import PermanentError
from csqa_loop.events import EVENTS, EVENTS_OF_TOPIC, AnswerGiven, BadCaseReported, Event, FeedbackGiven, topics
from csqa_loop.events.schemas import EXAMPLES
from csqa_loop.events.wire import decode
from tests.unit.events.some_events import events, some_event

each_kind = pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
some_examples = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def thumb(**changes: Any) -> bytes:
    body = EXAMPLES["FeedbackGiven"] | changes
    return json.dumps({key: value for key, value in body.items() if value is not ...}).encode()


@each_kind
@some_examples
@given(st.data())
def test_what_was_encoded_is_decoded(kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(events(kind))
    again = decode(kind.topic, event.to_json())
    assert again == event
    assert type(again) is kind
    assert again.to_json() == event.to_json()


@each_kind
def test_unknown_fields_are_ignored(kind: type[Event]) -> None:
    event = some_event(kind)
    body = json.loads(event.to_json()) | {"added_later": {"deep": [1, 2]}, "another": None}
    assert decode(kind.topic, json.dumps(body).encode()) == event


@each_kind
@pytest.mark.parametrize("field", ["event_id", "occurred_at"])
def test_id_and_moment_are_never_made_up(kind: type[Event], field: str) -> None:
    body = json.loads(some_event(kind).to_json())
    del body[field]
    with pytest.raises(PermanentError, match=f"{kind.topic}: .* lacks '{field}'"):
        decode(kind.topic, json.dumps(body).encode())


@each_kind
def test_every_missing_field_is_named(kind: type[Event]) -> None:
    whole = json.loads(some_event(kind).to_json())
    for name, field in kind.model_fields.items():
        if field.is_required() and name not in {"event_id", "occurred_at", "type"}:
            body = {key: value for key, value in whole.items() if key != name}
            with pytest.raises(PermanentError, match=rf"\.{name} is"):
                decode(kind.topic, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "no value"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a": 1} trailing', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"event_id": ' + b"1" * 5000 + b"}", "not JSON"),
        (thumb()[:-1] + b', "confidence": NaN}', "NaN"),
        (b"[]", "JSON list"),
        (b'"text"', "JSON str"),
        (b"null", "JSON NoneType"),
        (thumb(type="AnswerGiven"), "field 'type' is 'AnswerGiven'; it must be one of FeedbackGiven"),
        (thumb(type=None), "field 'type' is None"),
        (thumb(type=["FeedbackGiven"]), "field 'type' is"),
        (thumb(event_id="7"), r"FeedbackGiven\.event_id"),
        (thumb(occurred_at="2026-11-22T09:30:00"), r"FeedbackGiven\.occurred_at"),
        (thumb(occurred_at=None), r"FeedbackGiven\.occurred_at"),
        (thumb(occurred_at="0001-01-01T00:00:00+14:00"), r"FeedbackGiven\.occurred_at .* outside the years"),
        (thumb(occurred_at="9999-12-31T23:59:59-14:00"), r"FeedbackGiven\.occurred_at .* outside the years"),
        (thumb()[:-1] + b', "later": NaN}', "NaN is no JSON number"),
        (thumb(schema_version=2), r"FeedbackGiven\.schema_version"),
        (thumb(thumb="sideways"), r"FeedbackGiven\.thumb is 'sideways'"),
        (thumb(conversation_id=""), r"FeedbackGiven\.conversation_id"),
        (thumb(conversation_id="x" * 201), r"FeedbackGiven\.conversation_id"),
        (thumb(comment="x" * 10_001), r"FeedbackGiven\.comment"),
        (thumb(user="\ud800"), "surrogates not allowed"),
    ],
)
def test_a_bad_record_is_refused_by_name(value: bytes | None, message: str) -> None:
    with pytest.raises(PermanentError, match=message) as caught:
        decode(topics.FEEDBACK, value)
    assert topics.FEEDBACK in str(caught.value)
    assert len(str(caught.value)) < 500
    str(caught.value).encode()


@pytest.mark.parametrize("number", [2**31, 2**64, 2**70 + 1, -1])
def test_a_number_that_no_column_takes_is_refused(number: int) -> None:
    body = EXAMPLES["AnswerGiven"] | {"tokens": {"prompt": number, "completion": 1}}
    with pytest.raises(PermanentError, match=r"AnswerGiven\.tokens\.prompt"):
        decode(topics.CHATS, json.dumps(body).encode())


def test_the_last_of_two_equal_keys_counts_and_a_byte_order_mark_is_passed_over() -> None:
    event = decode(topics.FEEDBACK, b"\xef\xbb\xbf" + thumb(thumb="up"))
    assert decode(topics.FEEDBACK, thumb(thumb="down")[:-1] + b', "thumb": "up"}') == event


def test_a_topic_with_one_event_needs_no_type() -> None:
    assert isinstance(decode(topics.FEEDBACK, thumb(type=...)), FeedbackGiven)
    body = {key: value for key, value in EXAMPLES["AnswerGiven"].items() if key != "type"}
    with pytest.raises(PermanentError, match="must be one of ArmExposed, AnswerGiven"):
        decode(topics.CHATS, json.dumps(body).encode())


def test_an_event_on_another_topic_is_refused() -> None:
    with pytest.raises(PermanentError, match="must be one of BadCaseReported"):
        decode(BadCaseReported.topic, thumb())


def test_a_topic_that_is_not_ours() -> None:
    with pytest.raises(PermanentError, match="'other' is not one of this system's"):
        decode("other", thumb())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(EVENTS_OF_TOPIC)), st.binary(max_size=60))
def test_any_bytes_are_an_event_or_refused(topic: str, value: bytes) -> None:
    with pytest.raises(PermanentError):
        decode(topic, value)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(EVENTS), st.data())
def test_any_value_in_any_field_is_an_event_or_refused(kind: type[Event], data: st.DataObject) -> None:
    body = json.loads(some_event(kind).to_json())
    field = data.draw(st.sampled_from(sorted(body)))
    body[field] = data.draw(_JSON)
    try:
        event = decode(kind.topic, json.dumps(body).encode())
    except PermanentError as error:
        str(error).encode()
    else:
        assert decode(kind.topic, event.to_json()) == event
        event.key.encode()


def test_a_number_that_no_column_holds_is_refused() -> None:
    body = some_event(AnswerGiven).to_json()
    with pytest.raises(PermanentError, match=r"AnswerGiven\.latency_ms .* finite"):
        decode(topics.CHATS, re.sub(rb'"latency_ms":[0-9.]+', b'"latency_ms":1e999', body))
