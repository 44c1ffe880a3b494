"""The runs that the ledger holds."""

from datetime import UTC, datetime
from typing import Any

from csqa_loop import events as e
from csqa_loop.events.wire import decode
from csqa_loop.ledger.connection import Connection
from csqa_loop.training.rules.attempts import Run, RunState, state_of

_STATES = """
SELECT run_id, bool_or(type = 'AdapterUnservable') AS unservable,
    arg_max((body ->> 'passed')::BOOLEAN, (epoch, "offset", event_id)) FILTER (type = 'AdapterEvaluated') AS passed, bool_or(type = 'TrainingFailed') AS failed,
    bool_or(type = 'AdapterTrained') AS trained, arg_max(body ->> 'stage', (epoch, "offset", event_id)) FILTER (type = 'TrainingProgress') AS stage
FROM training_events SEMI JOIN (SELECT run_id, max(attempt) AS attempt FROM training_events GROUP BY run_id) USING (run_id, attempt) GROUP BY run_id
"""


def run_states(connection: Connection) -> list[tuple[str, RunState]]:
    """(run_id, state) of every run, by its highest attempt."""
    rows = connection.execute(_STATES).fetchall()
    return [
        (run_id, state_of(unservable=unservable, passed=passed, failed=failed, trained=trained, stage=stage))
        for run_id, unservable, passed, failed, trained, stage in rows
    ]


def latest_run(connection: Connection, run_id: str | None = None) -> Run | None:
    """The run requested last (or the named one), seen through its last attempt; what came after the request is dated by the log's time."""
    row = connection.execute(
        """
        SELECT body FROM training_events WHERE type = 'TrainingRequested' AND ($1 IS NULL OR run_id = $1)
        ORDER BY epoch DESC, "offset" DESC, event_id DESC LIMIT 1
        """,
        [run_id],
    ).fetchone()
    if row is None:
        return None
    request = e.TrainingRequested.model_validate_json(row[0])
    rows = connection.execute(
        'SELECT type, body, recorded_at FROM training_events WHERE run_id = ? AND attempt = ? ORDER BY epoch, "offset", event_id',
        [request.run_id, request.attempt],
    ).fetchall()
    # Dated by the log: a trainer whose clock is slow would look dead, and a second one would be started beside it.
    said = [(name, _dated(body, moment.astimezone(UTC))) for name, body, moment in rows]
    latest: dict[str, Any] = dict(said)
    # Trainer and loop may both say that an attempt failed: what is final stays so.
    failures = [event for _, event in reversed(said) if isinstance(event, e.TrainingFailed)]
    return Run(
        request=request,
        last_sign=max(moment for _, _, moment in rows).astimezone(UTC),
        progress=latest.get("TrainingProgress"),
        trained=latest.get("AdapterTrained"),
        failed=max(failures, key=lambda failure: failure.final, default=None),
        evaluated=latest.get("AdapterEvaluated"),
        unservable=latest.get("AdapterUnservable"),
    )


def _dated(body: str, moment: datetime) -> e.Event:
    return decode(e.TrainingEvent.topic, body.encode()).model_copy(update={"occurred_at": moment})
