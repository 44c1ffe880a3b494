"""One pair's whole history, event by event: the answer, the complaints about it, the correction, and the runs trained on it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from csqa_loop.evidence.pair_pages import PairRow, pair_row, rows
from csqa_loop.ledger.connection import Connection

_TABLES = {
    "ArmExposed": "exposures", "AnswerGiven": "answers", "FeedbackGiven": "feedback", "BadCaseReported": "bad_cases", "ReviewDecided": "reviews",
    "AnswerProposed": "proposals", "ExampleImported": "examples",
}  # fmt: skip
_JSON = frozenset({"messages", "citations", "sampling"})
_POLICY_CHANGES = """
WITH quoted AS (SELECT DISTINCT unnest(quoted) AS quote FROM pairs WHERE pair_id = $1)
SELECT DISTINCT quote[1] AS policy_id, quote[2] AS quoted, p.version AS current, p.event_id::VARCHAR AS event_id, p.occurred_at
FROM quoted JOIN current_policies p ON p.policy_id = quote[1]
LEFT JOIN standing_sections s ON s.policy_id = quote[1] AND s.version = quote[2] AND s.section = quote[3]
WHERE p.withdrawn OR p.version IS DISTINCT FROM quote[2] AND s.policy_id IS NULL ORDER BY ALL
"""
_BLAMES = (
    "SELECT * EXCLUDE (judged_at) REPLACE (event_id::VARCHAR AS event_id) FROM blames WHERE message_id = $1 ORDER BY occurred_at, event_id"
)
_RUNS = """
WITH claimed AS (
    SELECT run_id, event_id::VARCHAR AS event_id, occurred_at FROM training_events
    WHERE type = 'TrainingRequested' AND run_id IN (SELECT run_id FROM claims WHERE pair_id = $1)
    QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY epoch, "offset", event_id) = 1
), trained AS (
    SELECT run_id, body ->> 'adapter' AS adapter, event_id::VARCHAR AS trained_event_id, occurred_at AS trained_at FROM training_events
    WHERE type = 'AdapterTrained' QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY attempt DESC, epoch DESC, "offset" DESC, event_id DESC) = 1
), gated AS (
    SELECT run_id, (body ->> 'passed')::BOOLEAN AS gate_passed, event_id::VARCHAR AS evaluated_event_id FROM training_events
    WHERE type = 'AdapterEvaluated' QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY attempt DESC, epoch DESC, "offset" DESC, event_id DESC) = 1
)
SELECT *, run_id IN (FROM failed_runs) AS failed FROM claimed LEFT JOIN trained USING (run_id) LEFT JOIN gated USING (run_id) ORDER BY occurred_at, run_id
"""


@dataclass(frozen=True, slots=True)
class TracedEvent:
    """An event of a pair's history; its body is what the ledger keeps of it."""

    event_id: str
    topic: str
    type: str
    occurred_at: datetime
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Because:
    """A reason for a pair's state; the last two are None where no event decided."""

    rule: str
    detail: str
    event_id: str | None = None
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TracedBlame:
    """A complaint about the pair's answer, and whose fault it was found to be."""

    event_id: str
    occurred_at: datetime
    message_id: str
    conversation_id: str
    user: str
    question: str
    reason: str
    answered_at: datetime
    fault: str
    basis: str
    detail: str
    policy_id: str
    version: str
    section: str
    category: str
    prompt_support: float
    best_support: float
    missing_numbers: list[str]
    corrected: bool
    review_id: str


@dataclass(frozen=True, slots=True)
class TracedRun:
    """A run that claimed the pair, and the adapter that came of it."""

    run_id: str
    event_id: str
    occurred_at: datetime
    adapter: str | None
    trained_event_id: str | None
    trained_at: datetime | None
    gate_passed: bool | None
    evaluated_event_id: str | None
    failed: bool


@dataclass(frozen=True, slots=True)
class PairTrace:
    """A pair with everything it rests on and everything made of it."""

    pair: PairRow
    because: list[Because]
    answer: TracedEvent
    exposure: TracedEvent | None
    feedback: list[TracedEvent]
    bad_cases: list[TracedEvent]
    reviews: list[TracedEvent]
    evidence: TracedEvent
    liked_answer: TracedEvent | None
    blames: list[TracedBlame]
    runs: list[TracedRun]


def pair_trace(connection: Connection, pair_id: str) -> PairTrace | None:
    """The pair's history; None for a pair that is not known."""
    pair = pair_row(connection, pair_id)
    if pair is None:
        return None
    message, evidence = pair.message_id, _event(connection, pair.evidence_event_id)
    blames = rows(connection, _BLAMES, [message])
    runs = [TracedRun(**row) for row in rows(connection, _RUNS, [pair_id])]
    liked = _events(connection, "answers", evidence.body["message_id"]) if pair.source == "rated" else []
    return PairTrace(
        pair=pair,
        because=_because(connection, pair, runs),
        answer=_event(connection, pair.answer_event_id),
        exposure=next(iter(_events(connection, "exposures", message)), None),
        feedback=_events(connection, "feedback", message),
        bad_cases=_events(connection, "bad_cases", message),
        reviews=_events(connection, "reviews", message),
        evidence=evidence,
        liked_answer=next(iter(liked), None),
        blames=[TracedBlame(**row) for row in blames],
        runs=runs,
    )


def _because(connection: Connection, pair: PairRow, runs: list[TracedRun]) -> list[Because]:
    reasons: list[Because] = []
    if pair.withdrawn:
        for event_id, occurred_at, action, reviewer, note in _withdrawing(connection, pair):
            reasons.append(Because("withdrawn", f"{reviewer} decided {action!r}" + (f": {note}" if note else ""), event_id, occurred_at))
    for change in rows(connection, _POLICY_CHANGES, [pair.pair_id]):
        now = f"{change['current']} is current" if change["current"] else "it is withdrawn"
        text_source = "its answer was in" if pair.source == "import" else "the prompt quoted"
        detail = f"{text_source} {change['policy_id']} in version {change['quoted']}; {now}"
        reasons.append(Because("policy changed", detail, change["event_id"], change["occurred_at"]))
    if pair.unsettled:
        reasons += [Because("held", reason) for reason in pair.held]
        if pair.too_long:
            reasons.append(Because("held", "too_long: no run can train on it, and no review lets it pass"))
        if pair.masked:
            reasons.append(Because("held", "masked: no run trains on a label, and no review lets it pass"))
        if pair.rival:
            reasons.append(Because("held", f"contradiction: {pair.rival} states other numbers"))
    if pair.held_out:
        place = f"{pair.policy_id}, {pair.section!r}," if pair.policy_id else "this example"
        reasons.append(Because("held out", f"{place} only ever evaluates"))
    for run in runs:
        rule, outcome = ("failed run", "took it and failed") if run.failed else ("claimed", "trained on it")
        reasons.append(Because(rule, f"{run.run_id} {outcome}", run.event_id, run.occurred_at))
    return reasons or [Because("fresh", "nothing is against it and no run has claimed it")]


def _withdrawing(connection: Connection, pair: PairRow) -> list[tuple[Any, ...]]:
    """The last review of the pair where it replaced or rejected it, and the one that undid the review it was made from."""
    return connection.execute(
        "SELECT r.event_id::VARCHAR AS event_id, r.occurred_at, r.action, r.reviewer, r.note FROM reviews r JOIN review_states s USING (event_id) "
        "WHERE (r.review_id = $1 AND turns_down(r.action)) OR r.review_id IN ("
        'SELECT review_id FROM reviews WHERE event_id = $2::UUID AND event_id IN (FROM undone_reviews)) ORDER BY r.epoch, r."offset", r.event_id',
        [pair.review_id, pair.evidence_event_id],
    ).fetchall()


def _event(connection: Connection, event_id: str) -> TracedEvent:
    (kind,) = connection.execute("SELECT type FROM events WHERE event_id = $1", [event_id]).fetchone() or ("",)
    return _traced_events(connection, _TABLES[kind], "event_id = $1::UUID", event_id)[0]


def _events(connection: Connection, table: str, message_id: str) -> list[TracedEvent]:
    return _traced_events(connection, table, "message_id = $1", message_id)


def _traced_events(connection: Connection, table: str, condition: str, value: str) -> list[TracedEvent]:
    event_rows = rows(
        connection,
        f'SELECT e.topic, e.type, t.* EXCLUDE (epoch, "offset", recorded_at) REPLACE (t.event_id::VARCHAR AS event_id) '  # noqa: S608 - our own names
        f"FROM {table} t JOIN events e USING (event_id) "
        f"WHERE t.{condition} ORDER BY t.occurred_at, t.event_id",
        [value],
    )
    return [
        TracedEvent(
            **{name: row.pop(name) for name in ("event_id", "topic", "type", "occurred_at")},
            body={name: json.loads(value) if name in _JSON and value else value for name, value in row.items()},
        )
        for row in event_rows
    ]
