"""Makers of events for tests: everything has a default, time is fixed."""

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from uuid import UUID

from csqa_loop import events as e
from csqa_loop.evidence.rules.pairs import review_id_of
from csqa_loop.knowledge.rules.versions import policy_version
from csqa_loop.ledger.rules.batch import Batch, marks_of
from csqa_loop.log.records import LogRecord

_offsets = count()
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
VERSION = "0123456789ab"


def at(seconds: float) -> datetime:
    """So many seconds after the test's start."""
    return START + timedelta(seconds=seconds)


def event_id(number: int) -> UUID:
    """A fixed id."""
    return UUID(int=number)


def _id_of(kind: int, number: int) -> UUID:
    """Long traffic has more messages than there is room between the kinds."""
    return event_id(10_000 * kind + number if number < 10_000 else (kind << 64) + number)


def exposure(number: int, *, second: float = 0, **fields: object) -> e.ArmExposed:
    body = {"message_id": f"m{number}", "conversation_id": f"c{number}", "user": f"u-{number:016x}"} | fields
    return e.ArmExposed(event_id=_id_of(1, number), occurred_at=at(second), **body)


def answer(number: int, *, second: float = 0, section: str = "Returns", **fields: object) -> e.AnswerGiven:
    citation = e.Citation(chunk_id=f"returns@{VERSION}#0", policy_id="returns", version=VERSION, section=section, score=0.8)
    body: dict[str, object] = {
        "message_id": f"m{number}", "conversation_id": f"c{number}", "user": f"u-{number:016x}", "question": f"How long do returns take, case {number}?",
        "messages": (e.ChatMessage(role="system", content="Policy."), e.ChatMessage(role="user", content=f"Question {number}")),
        "answer": "30 days.", "citations": (citation,), "latency_ms": 100.0,
    }  # fmt: skip
    return e.AnswerGiven(event_id=_id_of(2, number), occurred_at=at(second), **(body | fields))


def thumb(number: int, way: str = "down", *, second: float = 1, identity: int | None = None) -> e.FeedbackGiven:
    return e.FeedbackGiven(
        event_id=_id_of(3, number if identity is None else identity), occurred_at=at(second),
        conversation_id=f"c{number}", message_id=f"m{number}", user=f"u-{number:016x}", thumb=way,
    )  # fmt: skip


def bad_case(number: int, corrected: str | None = "14 days.", *, second: float = 2) -> e.BadCaseReported:
    return e.BadCaseReported(
        event_id=_id_of(4, number), occurred_at=at(second), conversation_id=f"c{number}", message_id=f"m{number}",
        reason="wrong", corrected_answer=corrected, reviewer="ann",
    )  # fmt: skip


def policy(text: str, *, second: float = -60, policy_id: str = "returns", number: int = 0) -> e.PolicyPublished:
    return e.PolicyPublished(
        event_id=event_id(50_000 + number), occurred_at=at(second), policy_id=policy_id, version=policy_version(text), title=policy_id, text=text
    )  # fmt: skip


def review(number: int, action: str = "correct", corrected: str | None = None, *, second: float = 10, subject: str = "") -> e.ReviewDecided:
    """A decision about message `number`, or about the pair named `subject`."""
    kind = "pair" if subject else "answer"
    return e.ReviewDecided(
        event_id=event_id(60_000 + number * 100 + int(second)), occurred_at=at(second), conversation_id=f"c{number}", message_id=f"m{number}",
        review_id=review_id_of(kind, subject or f"m{number}"), kind=kind, subject=subject or f"m{number}", action=action,
        corrected_answer=corrected, reviewer="bea",
    )  # fmt: skip


def interleaved(events: Sequence[e.Event], chance: Random) -> list[e.Event]:
    """In another order, but for those of one key."""
    waiting: dict[tuple[str, str], deque[e.Event]] = {}
    for event in events:
        waiting.setdefault((event.topic, event.key), deque()).append(event)
    turns = [(event.topic, event.key) for event in events]
    chance.shuffle(turns)
    return [waiting[turn].popleft() for turn in turns]


def record(event: e.Event, offset: int, partition: int = 0) -> LogRecord:
    """The event as it lies in the log."""
    return LogRecord(event.topic, partition, offset, event.key.encode(), event.to_json(), int(event.occurred_at.timestamp() * 1000))


def batch(*events: e.Event, first_offset: int | None = None) -> Batch:
    """A batch without dead letters; without `first_offset` it lies behind all that were made before it."""
    offsets = _offsets if first_offset is None else count(first_offset)
    records = [record(event, next(offsets)) for event in events]
    return Batch(facts=list(zip(events, records, strict=True)), letters=[], marks=marks_of(records))
