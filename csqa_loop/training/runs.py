"""The runs that the ledger holds."""

from datetime import UTC
from typing import Any

from csqa_loop import events as e
from csqa_loop.events.wire import decode
from csqa_loop.ledger.connection import Connection
from csqa_loop.training.rules.attempts import Run, RunState, state_of

_STATES = """
SELECT run_id, bool_or(type = 'AdapterUnservable') AS unservable,
    arg_max((body ->> 'passed')::BOOLEAN, (occurred_at, event_id)) FILTER (type = 'AdapterEvaluated') AS passed, bool_or(type = 'TrainingFailed') AS failed,
    bool_or(type = 'AdapterTrained') AS trained, arg_max(body ->> 'stage', (occurred_at, event_id)) FILTER (type = 'TrainingProgress') AS stage
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
    """The run requested last (or the named one), seen through its highest attempt."""
    row = connection.execute(
        "SELECT body FROM training_events WHERE type = 'TrainingRequested' AND ($1 IS NULL OR run_id = $1) ORDER BY occurred_at DESC, event_id DESC LIMIT 1",
        [run_id],
    ).fetchone()
    if row is None:
        return None
    request = e.TrainingRequested.model_validate_json(row[0])
    rows = connection.execute(
        "SELECT type, body, occurred_at FROM training_events WHERE run_id = ? AND attempt = ? ORDER BY occurred_at, event_id",
        [request.run_id, request.attempt],
    ).fetchall()
    latest: dict[str, Any] = {name: decode(e.TrainingEvent.topic, body.encode()) for name, body, _ in rows}
    # Trainer and loop may both say that an attempt failed, by clocks of their own: what is final stays so.
    failures = [e.TrainingFailed.model_validate_json(body) for name, body, _ in reversed(rows) if name == "TrainingFailed"]
    return Run(
        request=request,
        last_sign=max(moment for _, _, moment in rows).astimezone(UTC),
        progress=latest.get("TrainingProgress"),
        trained=latest.get("AdapterTrained"),
        failed=max(failures, key=lambda failure: failure.final, default=None),
        evaluated=latest.get("AdapterEvaluated"),
        unservable=latest.get("AdapterUnservable"),
    )
