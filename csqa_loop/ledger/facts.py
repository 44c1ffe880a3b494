"""Events to Arrow tables, column by column: the fast way into DuckDB. One table a kind of event; JSON where a value has structure."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from csqa_loop import events as e
from csqa_loop.ledger.moments import Stamps, moments
from csqa_loop.ledger.rules.batch import Batch, Letter, Mark
from csqa_loop.log.records import LogRecord

_MOMENT = pa.timestamp("us", tz="UTC")
_TYPES: dict[str, pa.DataType] = {
    "occurred_at": _MOMENT, "as_of": _MOMENT, "confidence": pa.float64(), "covered": pa.bool_(), "handoff": pa.bool_(), "latency_ms": pa.float64(),
    "prompt_tokens": pa.int32(), "completion_tokens": pa.int32(), "withdrawn": pa.bool_(), "cut": pa.bool_(), "attempt": pa.int32(), "revision": pa.int64(),
    "share": pa.float64(), "liked": pa.bool_(), "answered_at": _MOMENT, "judged_at": _MOMENT, "corrected": pa.bool_(), "prompt_support": pa.float64(),
    "best_support": pa.float64(), "missing_numbers": pa.list_(pa.string()), "numbers": pa.list_(pa.string()), "held": pa.list_(pa.string()),
    "quoted": pa.list_(pa.list_(pa.string())), "signature": pa.binary(), "held_out": pa.bool_(), "weight": pa.float64(), "offset": pa.int64(), "value_bytes": pa.int64(), "last_seen": _MOMENT, "next_offset": pa.int64(), "partition": pa.int32(), "value": pa.binary(), "original_key": pa.binary(),
}  # fmt: skip
_TEXT = pa.string()
Row = dict[str, Any]


class Layout(NamedTuple):
    """The columns of one kind's table, besides `event_id` and `occurred_at`."""

    same: tuple[str, ...]
    """Called like the fields they hold."""
    computed: tuple[str, ...] = ()
    """Computed from an event, in the order in which `compute` returns them; text may be UTF-8 bytes."""
    compute: Callable[[Any], tuple[Any, ...]] = lambda _: ()


@dataclass(frozen=True)
class Rows:
    """One batch as the ledger takes it. It can be pickled: another process may have laid it out."""

    tables: Mapping[str, pa.Table]
    """Of `FACT_TABLES`, as far as there are rows; all columns of the table, and `place`."""
    records: Sequence[LogRecord]
    """The record of each place."""
    letters: Sequence[Letter]
    marks: Sequence[Mark]

    @property
    def facts(self) -> int:
        """How many there are."""
        return len(self.tables["events"]) if self.tables else 0

    def halves(self) -> tuple["Rows", "Rows"]:
        """Two parts, to be taken one after the other; the second has the offsets. Facts are parted where there are several, else letters."""
        if self.facts > 1:
            middle = sorted(self.tables["events"]["place"].to_pylist())[self.facts // 2]
            early = {table: rows.filter(pc.field("place") < middle) for table, rows in self.tables.items()}
            late = {table: rows.filter(pc.field("place") >= middle) for table, rows in self.tables.items()}
            return replace(self, tables=_filled(early), letters=(), marks=()), replace(self, tables=_filled(late))
        middle = len(self.letters) // 2
        return replace(self, letters=self.letters[:middle], marks=()), replace(self, tables={}, letters=self.letters[middle:])


def _filled(tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    return {table: rows for table, rows in tables.items() if len(rows)}


def lay_out(batch: Batch) -> Rows:
    """The batch in columns, repeated events included."""
    return Rows(tables_of(batch.facts), [record for _, record in batch.facts], batch.letters, batch.marks)


def tables_of(facts: Iterable[tuple[e.Event, LogRecord]]) -> dict[str, pa.Table]:
    """Every event's row in `events` and in the table of its kind; `place` counts the facts from 0. No event is kept, so that they may be read one by one."""
    drafts: dict[type[e.Event], _Draft] = {}
    for place, (event, record) in enumerate(facts):
        kind = type(event)
        if (draft := drafts.get(kind)) is None:
            draft = drafts[kind] = _Draft(kind)
        draft.add(event, place, record)
    parts: dict[str, list[pa.Table]] = {}
    for draft in drafts.values():
        for table, rows in draft.tables():
            parts.setdefault(table, []).append(rows)
    return {table: pa.concat_tables(some, promote_options="default") for table, some in parts.items()}


def _computed_of_answer(event: e.AnswerGiven) -> tuple[Any, ...]:
    citations, sampling, tokens = event.citations, event.sampling, event.tokens
    policy_id, section = (citations[0].policy_id, citations[0].section) if citations else ("", "")
    return (
        _flat(event.messages), _flat(citations), policy_id, section, sampling and orjson.dumps(sampling.__dict__), tokens.prompt, tokens.completion,
        event.retrieval and event.retrieval.model_dump_json(exclude_none=True).encode(),
    )  # fmt: skip


def _flat(models: Sequence[BaseModel]) -> bytes:
    """JSON of models without structure of their own: pydantic takes three times as long to write it."""
    return orjson.dumps([model.__dict__ for model in models])


_ANSWER = Layout(
    (
        "message_id", "conversation_id", "user", "experiment", "arm", "adapter", "question", "answer", "source", "index_version", "as_of",
        "prompt_version", "confidence", "covered", "handoff", "latency_ms",
    ),
    ("messages", "citations", "policy_id", "section", "sampling", "prompt_tokens", "completion_tokens", "retrieval"),
    _computed_of_answer,
)  # fmt: skip
_PUBLISHED = Layout(("policy_id", "version", "title"), ("withdrawn", "body"), lambda event: (False, event.to_json()))
_WITHDRAWN = Layout(("policy_id",), ("withdrawn", "body"), lambda event: (True, event.to_json()))
_BODY = (("body",), lambda event: (event.to_json(),))
_EXAMPLE = Layout(
    ("conversation_id", "answer", "rejected", "liked", "category", "split", "origin", "generator", "operator"),
    ("messages",),
    lambda event: (_flat(event.messages),),
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
    (e.TrainingEvent, "training_events", Layout(("run_id", "attempt", "type"), *_BODY)),
    (e.DecisionEvent, "decisions", Layout(("experiment_id", "type"), *_BODY)),
    (
        e.DeploymentChanged,
        "deployments",
        Layout(("revision", "champion", "challenger", "candidate", "share", "experiment"), *_BODY),
    ),
)
FACT_TABLES = ("events", *dict.fromkeys(table for _, table, _ in _TABLES))
"""One row an event."""
PROVENANCE = frozenset({"place", "epoch", "partition", "offset", "recorded_at", "claimed_at", "judged_at", "body_sha"})
"""Columns that say where a record lay in the log and when, and nothing of the fact: copies of it differ in them."""
DERIVED_TABLES = ("pairs", "blames", "ratings", "held_examples")
"""Functions of the set of events. `csqa ledger hash` covers both."""


_TABLE_OF = {kind: (table, layout) for kind in e.EVENTS for parent, table, layout in _TABLES if issubclass(kind, parent)}


class _Draft:
    """The rows of one kind of event, made event by event: what belongs to one lies close together in memory."""

    def __init__(self, kind: type[e.Event]) -> None:
        self._kind = kind
        self._table, self._layout = _TABLE_OF.get(kind, ("", Layout(())))
        self._key_of = attrgetter(kind.key_field)
        # Two more than the columns, as one name alone would pick no tuple.
        self._pick = itemgetter("event_id", "occurred_at", *self._layout.same)
        self._rows: list[tuple[Any, ...]] = []

    def add(self, event: e.Event, place: int, record: LogRecord) -> None:
        body_sha = hashlib.sha256(record.value or b"").hexdigest()[:32]
        self._rows.append((
            place, record.partition, record.offset, record.timestamp_ms, record.is_stamped, record.carried_us, self._key_of(event), body_sha,
            *self._pick(event.__dict__), *self._layout.compute(event),
        ))  # fmt: skip

    def tables(self) -> Iterable[tuple[str, pa.Table]]:
        """(table, its rows) of `events` and of the kind's own."""
        places, partitions, offsets, stamps, stamped, carried, keys, shas, ids, said, *own = zip(*self._rows, strict=True)
        dated = moments(pa.array(said, _MOMENT), Stamps.of(offsets, stamps, stamped, carried))
        head = {
            "place": pa.array(places, pa.int32()),
            "event_id": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([event_id.bytes for event_id in ids], pa.binary(16))),
            "occurred_at": dated.occurred_at,
            "offset": dated.offset,
            "recorded_at": dated.recorded_at,
        }
        envelope = {
            "partition": _column("partition", partitions),
            "claimed_at": dated.claimed_at,
            "topic": pa.repeat(self._kind.topic, len(places)),
            "type": pa.repeat(e.type_name(self._kind), len(places)),
            "key": _column("key", keys),
            "body_sha": _column("body_sha", shas),
        }
        yield "events", pa.table(head | envelope)
        if self._table:
            names = (*self._layout.same, *self._layout.computed)
            yield self._table, pa.table(head | {name: _column(name, values) for name, values in zip(names, own, strict=True)})


def arrow(rows: Sequence[Row]) -> pa.Table:
    """Rows of one table as Arrow."""
    return pa.table({name: _column(name, [row[name] for row in rows]) for name in rows[0]})


def _column(name: str, values: Sequence[Any]) -> pa.Array:
    return pa.array(values, _TYPES.get(name, _TEXT))
