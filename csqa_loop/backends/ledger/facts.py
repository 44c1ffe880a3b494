"""Events to Arrow tables, column by column: the fast way into DuckDB. One table a kind of event; JSON where a value has structure."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
from pydantic import BaseModel

from csqa_loop.domain import events as e
from csqa_loop.domain.intake import Batch, Letter, LogRecord, Mark

_MOMENT = pa.timestamp("us", tz="UTC")
_TYPES: dict[str, pa.DataType] = {
    "occurred_at": _MOMENT, "as_of": _MOMENT, "confidence": pa.float64(), "covered": pa.bool_(), "handoff": pa.bool_(), "latency_ms": pa.float64(),
    "prompt_tokens": pa.int32(), "completion_tokens": pa.int32(), "withdrawn": pa.bool_(), "attempt": pa.int32(), "revision": pa.int64(),
    "share": pa.float64(), "liked": pa.bool_(), "answered_at": _MOMENT, "corrected": pa.bool_(), "prompt_support": pa.float64(),
    "best_support": pa.float64(), "missing_numbers": pa.list_(pa.string()), "numbers": pa.list_(pa.string()), "held": pa.list_(pa.string()),
    "quoted": pa.list_(pa.list_(pa.string())), "signature": pa.binary(), "held_out": pa.bool_(), "weight": pa.float64(), "offset": pa.int64(), "next_offset": pa.int64(), "partition": pa.int32(), "value": pa.binary(), "original_key": pa.binary(),
}  # fmt: skip
_TEXT = pa.string()
Row = dict[str, Any]
Made = Mapping[str, Callable[[Sequence[Any]], Iterable[Any]]]
"""Column name -> its values of some events of one kind; text may be UTF-8 bytes."""


class Layout(NamedTuple):
    """The columns of one kind's table, besides `event_id` and `occurred_at`."""

    same: tuple[str, ...]
    """Called like the fields they hold."""
    made: Made = MappingProxyType({})


class Fact(NamedTuple):
    """An event and where it stands in its batch."""

    event: e.Event
    place: int
    body_sha: str
    """Of the record's value. Equal ones are equal facts; different ones may be the same fact, written another way."""


@dataclass(frozen=True)
class Rows:
    """One batch as the ledger takes it. It can be pickled: another process may have laid it out."""

    tables: Mapping[str, pa.Table]
    """Of `FACT_TABLES`, as far as there are rows; all columns of the table, and `place`."""
    records: Sequence[LogRecord]
    """The record of each place."""
    letters: Sequence[Letter]
    marks: Sequence[Mark]


def lay_out(batch: Batch) -> Rows:
    """The batch in columns, repeated events included."""
    facts = (Fact(event, place, hashlib.sha256(record.value or b"").hexdigest()[:32]) for place, (event, record) in enumerate(batch.facts))
    return Rows(_tables(facts), [record for _, record in batch.facts], batch.letters, batch.marks)


def _bodies(events: Sequence[e.Event]) -> Iterable[bytes]:
    return [event.to_json() for event in events]


def _messages(events: Sequence[e.AnswerGiven | e.ExampleImported]) -> Iterable[bytes]:
    return [_flat(event.messages) for event in events]


def _flat(models: Sequence[BaseModel]) -> bytes:
    """JSON of models without structure of their own: pydantic takes three times as long to write it."""
    return orjson.dumps([vars(model) for model in models])


def _of_top_citation(field: str) -> Callable[[Sequence[e.AnswerGiven]], Iterable[str]]:
    return lambda events: [getattr(event.citations[0], field) if event.citations else "" for event in events]


_ANSWER = Layout(
    (
        "message_id", "conversation_id", "user", "experiment", "arm", "adapter", "question", "answer", "source", "index_version", "as_of",
        "prompt_version", "confidence", "covered", "handoff", "latency_ms",
    ),
    {
        "messages": _messages,
        "citations": lambda events: [_flat(event.citations) for event in events],
        "policy_id": _of_top_citation("policy_id"),
        "section": _of_top_citation("section"),
        "sampling": lambda events: [event.sampling and orjson.dumps(vars(event.sampling)) for event in events],
        "prompt_tokens": lambda events: [event.tokens.prompt for event in events],
        "completion_tokens": lambda events: [event.tokens.completion for event in events],
    },
)  # fmt: skip
_PUBLISHED = Layout(("policy_id", "version", "title"), {"withdrawn": lambda events: [False] * len(events), "body": _bodies})
_WITHDRAWN = Layout(("policy_id",), {"withdrawn": lambda events: [True] * len(events), "body": _bodies})
_EXAMPLE = Layout(
    ("conversation_id", "answer", "rejected", "liked", "category", "split", "origin", "generator", "operator"), {"messages": _messages}
)
_TABLES: tuple[tuple[type[e.Event], str, Layout], ...] = (
    (e.ArmExposed, "exposures", Layout(("message_id", "conversation_id", "user", "experiment", "arm", "adapter"))),
    (e.AnswerGiven, "answers", _ANSWER),
    (e.FeedbackGiven, "feedback", Layout(("conversation_id", "message_id", "user", "thumb", "comment"))),
    (e.BadCaseReported, "bad_cases", Layout(("conversation_id", "message_id", "reason", "corrected_answer", "reviewer"))),
    (
        e.ReviewDecided,
        "reviews",
        Layout(("conversation_id", "review_id", "kind", "subject", "message_id", "action", "corrected_answer", "reviewer", "note")),
    ),
    (
        e.AnswerProposed,
        "proposals",
        Layout(("conversation_id", "message_id", "method", "answer", "adapter", "judge_model", "judge_prompt_version")),
    ),
    (e.ExampleImported, "examples", _EXAMPLE),
    (e.PolicyPublished, "policies", _PUBLISHED),
    (e.PolicyWithdrawn, "policies", _WITHDRAWN),
    (e.TrainingEvent, "training_events", Layout(("run_id", "attempt", "type"), {"body": _bodies})),
    (e.DecisionEvent, "decisions", Layout(("experiment_id", "type"), {"body": _bodies})),
    (
        e.DeploymentChanged,
        "deployments",
        Layout(("revision", "champion", "challenger", "candidate", "share", "experiment"), {"body": _bodies}),
    ),
)
FACT_TABLES = ("events", *dict.fromkeys(table for _, table, _ in _TABLES))
"""One row an event."""
DERIVED_TABLES = ("pairs", "blames", "ratings", "held_examples")
"""Functions of the set of events. `csqa ledger hash` covers both."""


_TABLE_OF = {kind: (table, layout) for kind in e.EVENTS for parent, table, layout in _TABLES if issubclass(kind, parent)}


def _tables(facts: Iterable[Fact]) -> dict[str, pa.Table]:
    """Every event's row in `events` and in the table of its kind."""
    kinds: dict[type[e.Event], list[Fact]] = {}
    for fact in facts:
        kinds.setdefault(type(fact.event), []).append(fact)
    parts: dict[str, list[pa.Table]] = {}
    for kind, some in kinds.items():
        happened, places, shas = zip(*some, strict=True)
        head = {
            "place": pa.array(places, pa.int32()),
            "event_id": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([event.event_id.bytes for event in happened], pa.binary(16))),
            "occurred_at": _column("occurred_at", [event.occurred_at for event in happened]),
        }
        told = {
            "topic": pa.repeat(kind.topic, len(some)),
            "type": pa.repeat(e.type_name(kind), len(some)),
            "key": _column("key", map(attrgetter(kind.key_field), happened)),
            "body_sha": _column("body_sha", shas),
        }
        parts.setdefault("events", []).append(pa.table(head | told))
        if kind in _TABLE_OF:
            table, layout = _TABLE_OF[kind]
            parts.setdefault(table, []).append(pa.table(head | _own(layout, happened)))
    return {table: pa.concat_tables(some, promote_options="default") for table, some in parts.items()}


def _own(layout: Layout, events: Sequence[e.Event]) -> dict[str, pa.Array]:
    pick = itemgetter(*layout.same, "event_id")
    # Event by event, then turned: what belongs to one event lies close together. An id more, as one name alone would pick no tuple.
    *same, _ = zip(*(pick(vars(event)) for event in events), strict=True)
    return {
        name: _column(name, values)
        for name, values in (*zip(layout.same, same, strict=True), *((name, of(events)) for name, of in layout.made.items()))
    }


def arrow(rows: Sequence[Row]) -> pa.Table:
    """Rows of one table as Arrow."""
    return pa.table({name: _column(name, (row[name] for row in rows)) for name in rows[0]})


def _column(name: str, values: Iterable[Any]) -> pa.Array:
    return pa.array(list(values), _TYPES.get(name, _TEXT))
