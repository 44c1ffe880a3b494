"""Events are frozen facts with an id, a moment, a topic and a key."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from csqa_loop.events import (
    EVENTS,
    EVENTS_OF_TOPIC,
    DeploymentChanged,
    Event,
    FeedbackGiven,
    PolicyPublished,
    PolicyWithdrawn,
    derived_id,
    now,
    topics,
    type_name,
)
from tests.unit.events.some_events import some_event

WHEN = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_event_knows_its_topic_and_key_and_is_frozen(kind: type[Event]) -> None:
    event = some_event(kind)
    assert kind.topic in topics.TOPICS
    assert event.key == str(getattr(event, kind.key_field))
    assert event.type == type_name(kind)
    with pytest.raises(ValidationError, match="frozen"):
        event.event_id = UUID(int=0)  # type: ignore[misc]


def test_types_are_unique_within_a_topic_and_complete() -> None:
    assert sum(len(kinds) for kinds in EVENTS_OF_TOPIC.values()) == len(EVENTS)
    assert set(EVENTS_OF_TOPIC) == set(topics.TOPICS)


def test_what_is_kept_for_ever_or_compacted() -> None:
    compacted = {name for name, topic in topics.TOPICS.items() if topic.config["cleanup.policy"] == "compact"}
    assert compacted == {"csqa.policies", "csqa.chunks", "csqa.deployments"}
    for_ever = {name for name, topic in topics.TOPICS.items() if topic.config.get("retention.ms") == "-1"}
    assert for_ever == {"csqa.training", "csqa.decisions"}
    assert {topic.config["max.message.bytes"] for topic in topics.TOPICS.values()} == {str(8 * 1024 * 1024)}


@pytest.mark.parametrize("moment", [datetime(2026, 11, 22, 9, 30), "2026-11-22T09:30:00", "yesterday"])  # noqa: DTZ001
def test_a_moment_without_an_offset_is_refused(moment: object) -> None:
    with pytest.raises(ValidationError, match="occurred_at"):
        PolicyWithdrawn(policy_id="p", occurred_at=moment)  # type: ignore[arg-type]


@given(st.integers(-14 * 60, 14 * 60))
def test_the_same_moment_in_any_zone_is_the_same_fact(minutes: int) -> None:
    local = WHEN.astimezone(timezone(timedelta(minutes=minutes)))
    one = PolicyWithdrawn(policy_id="p", event_id=UUID(int=1), occurred_at=WHEN)
    other = PolicyWithdrawn(policy_id="p", event_id=UUID(int=1), occurred_at=local)
    assert one == other
    assert one.to_json() == other.to_json()


def test_events_get_ids_of_their_own_and_derived_ones_are_stable() -> None:
    assert PolicyWithdrawn(policy_id="p", occurred_at=WHEN).event_id != PolicyWithdrawn(policy_id="p", occurred_at=WHEN).event_id
    assert derived_id("run-1", "TrainingRequested", 1) == derived_id("run-1", "TrainingRequested", 1)
    ids = {derived_id(subject, kind, attempt) for subject in ("a", "b") for kind in ("x", "y") for attempt in (0, 1, 2)}
    assert len(ids) == 12


def test_a_policy_may_have_one_mebibyte_of_text_in_any_language() -> None:
    def published(text: str) -> PolicyPublished:
        return PolicyPublished(policy_id="p", version="0" * 12, title="t", text=text, occurred_at=WHEN)

    assert published("a" * topics.MAX_POLICY_BYTES)
    assert published("政" * (topics.MAX_POLICY_BYTES // 3))
    for text in ("a" * (topics.MAX_POLICY_BYTES + 1), "政" * (topics.MAX_POLICY_BYTES // 3 + 1), ""):
        with pytest.raises(ValidationError, match="text"):
            published(text)


@pytest.mark.parametrize("adapter", ["base", "a-0123456789abcdef"])
def test_adapter_names(adapter: str) -> None:
    assert DeploymentChanged(revision=1, champion=adapter, occurred_at=WHEN).key == "default"


@pytest.mark.parametrize("adapter", ["", "Base", "a-0123", "a-0123456789ABCDEF", "a-0123456789abcdef\n", "../base"])
def test_names_that_are_no_adapter(adapter: str) -> None:
    with pytest.raises(ValidationError, match="champion"):
        DeploymentChanged(revision=1, champion=adapter, occurred_at=WHEN)


def test_a_share_is_a_share() -> None:
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValidationError, match="share"):
            DeploymentChanged(revision=1, champion="base", share=share, occurred_at=WHEN)


def test_now_is_in_utc() -> None:
    event = FeedbackGiven(conversation_id="c", message_id="m", user="u", thumb="up", occurred_at=now())
    assert event.occurred_at.tzinfo is UTC
