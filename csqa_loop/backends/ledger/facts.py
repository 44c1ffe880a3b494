"""Events to table rows. One table a kind of event; JSON where a value has structure."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic import TypeAdapter

from csqa_loop.domain import events as e

_MOMENT = pa.timestamp("us", tz="UTC")
_TYPES: dict[str, pa.DataType] = {
    "occurred_at": _MOMENT, "as_of": _MOMENT, "confidence": pa.float64(), "covered": pa.bool_(), "handoff": pa.bool_(), "latency_ms": pa.float64(),
    "prompt_tokens": pa.int32(), "completion_tokens": pa.int32(), "withdrawn": pa.bool_(), "attempt": pa.int32(), "revision": pa.int64(),
    "share": pa.float64(), "liked": pa.bool_(), "answered_at": _MOMENT, "corrected": pa.bool_(), "prompt_support": pa.float64(),
    "best_support": pa.float64(), "missing_numbers": pa.list_(pa.string()), "numbers": pa.list_(pa.string()), "held": pa.list_(pa.string()),
    "quoted": pa.list_(pa.list_(pa.string())), "signature": pa.binary(), "held_out": pa.bool_(), "weight": pa.float64(), "offset": pa.int64(), "next_offset": pa.int64(), "partition": pa.int32(), "value": pa.binary(), "original_key": pa.binary(),
}  # fmt: skip
_TEXT = pa.string()
_MESSAGES = TypeAdapter(tuple[e.ChatMessage, ...])
_CITATIONS = TypeAdapter(tuple[e.Citation, ...])
Row = dict[str, Any]


class Fact(NamedTuple):
    """An event with what identifies it, worked out once."""

    event: e.Event
    event_id: str
    body_sha: str
    """Equal for equal facts, however their records were written."""


def fact_of(event: e.Event) -> Fact:
    """The event as the ledger knows it."""
    return Fact(event, str(event.event_id), hashlib.sha256(event.to_json()).hexdigest()[:32])


def _exposure(event: e.ArmExposed) -> Row:
    return {
        "message_id": event.message_id, "conversation_id": event.conversation_id, "user": event.user,
        "experiment": event.experiment, "arm": event.arm, "adapter": event.adapter,
    }  # fmt: skip


def _answer(event: e.AnswerGiven) -> Row:
    top = event.citations[0] if event.citations else None
    return {
        "message_id": event.message_id, "conversation_id": event.conversation_id, "user": event.user, "experiment": event.experiment,
        "arm": event.arm, "adapter": event.adapter, "question": event.question, "messages": _MESSAGES.dump_json(event.messages).decode(),
        "answer": event.answer, "source": event.source, "citations": _CITATIONS.dump_json(event.citations).decode(),
        "policy_id": top.policy_id if top else "", "section": top.section if top else "", "index_version": event.index_version,
        "as_of": event.as_of, "prompt_version": event.prompt_version,
        "sampling": event.sampling.model_dump_json() if event.sampling else None, "confidence": event.confidence, "covered": event.covered,
        "handoff": event.handoff, "latency_ms": event.latency_ms, "prompt_tokens": event.tokens.prompt, "completion_tokens": event.tokens.completion,
    }  # fmt: skip


def _feedback(event: e.FeedbackGiven) -> Row:
    return {
        "conversation_id": event.conversation_id, "message_id": event.message_id, "user": event.user, "thumb": event.thumb, "comment": event.comment,
    }  # fmt: skip


def _bad_case(event: e.BadCaseReported) -> Row:
    return {
        "conversation_id": event.conversation_id, "message_id": event.message_id, "reason": event.reason,
        "corrected_answer": event.corrected_answer, "reviewer": event.reviewer,
    }  # fmt: skip


def _review(event: e.ReviewDecided) -> Row:
    return {
        "conversation_id": event.conversation_id, "review_id": event.review_id, "kind": event.kind, "subject": event.subject,
        "message_id": event.message_id, "action": event.action, "corrected_answer": event.corrected_answer, "reviewer": event.reviewer,
        "note": event.note,
    }  # fmt: skip


def _proposal(event: e.AnswerProposed) -> Row:
    return {
        "conversation_id": event.conversation_id, "message_id": event.message_id, "method": event.method, "answer": event.answer,
        "adapter": event.adapter, "judge_model": event.judge_model, "judge_prompt_version": event.judge_prompt_version,
    }  # fmt: skip


def _example(event: e.ExampleImported) -> Row:
    return {
        "conversation_id": event.conversation_id, "messages": _MESSAGES.dump_json(event.messages).decode(), "answer": event.answer,
        "rejected": event.rejected, "liked": event.liked, "category": event.category, "split": event.split, "origin": event.origin,
        "generator": event.generator, "operator": event.operator,
    }  # fmt: skip


def _policy(event: e.PolicyPublished | e.PolicyWithdrawn) -> Row:
    published = event if isinstance(event, e.PolicyPublished) else None
    return {
        "policy_id": event.policy_id, "withdrawn": published is None, "version": published and published.version,
        "title": published and published.title, "body": event.model_dump_json(),
    }  # fmt: skip


def _training(event: e.TrainingEvent) -> Row:
    return {"run_id": event.run_id, "attempt": event.attempt, "type": event.type, "body": event.model_dump_json()}


def _decision(event: e.DecisionEvent) -> Row:
    return {"experiment_id": event.experiment_id, "type": event.type, "body": event.model_dump_json()}


def _deployment(event: e.DeploymentChanged) -> Row:
    return {
        "revision": event.revision, "champion": event.champion, "challenger": event.challenger, "candidate": event.candidate,
        "share": event.share, "experiment": event.experiment, "body": event.model_dump_json(),
    }  # fmt: skip


_TABLES: tuple[tuple[tuple[type[e.Event], ...], str, Callable[[Any], Row]], ...] = (
    ((e.ArmExposed,), "exposures", _exposure),
    ((e.AnswerGiven,), "answers", _answer),
    ((e.FeedbackGiven,), "feedback", _feedback),
    ((e.BadCaseReported,), "bad_cases", _bad_case),
    ((e.ReviewDecided,), "reviews", _review),
    ((e.AnswerProposed,), "proposals", _proposal),
    ((e.ExampleImported,), "examples", _example),
    ((e.PolicyPublished, e.PolicyWithdrawn), "policies", _policy),
    ((e.TrainingEvent,), "training_events", _training),
    ((e.DecisionEvent,), "decisions", _decision),
    ((e.DeploymentChanged,), "deployments", _deployment),
)
FACT_TABLES = ("events", *(table for _, table, _ in _TABLES))
"""One row an event."""
DERIVED_TABLES = ("pairs", "blames", "ratings", "held_examples")
"""Functions of the set of events. `csqa ledger hash` covers both."""


_ROW_OF = {kind: (table, make) for kind in e.EVENTS for kinds, table, make in _TABLES if issubclass(kind, kinds)}


def rows_by_table(facts: Iterable[Fact]) -> dict[str, list[Row]]:
    """Every event's row in `events` and in the table of its kind."""
    rows: dict[str, list[Row]] = {"events": []}
    for event, event_id, body_sha in facts:
        head = {"event_id": event_id, "occurred_at": event.occurred_at}
        rows["events"].append({**head, "topic": event.topic, "type": event.type, "key": event.key, "body_sha": body_sha})
        if type(event) in _ROW_OF:
            table, make = _ROW_OF[type(event)]
            rows.setdefault(table, []).append({**head, **make(event)})
    return rows


def arrow(rows: list[Row]) -> pa.Table:
    """Rows of one table as Arrow, the fast way into DuckDB."""
    return pa.table({name: pa.array([row[name] for row in rows], _TYPES.get(name, _TEXT)) for name in rows[0]})
