"""The runs that the ledger holds."""

from datetime import UTC
from typing import Any

from csqa_loop import events as e
from csqa_loop.events.wire import decode
from csqa_loop.ledger.bookkeeping import Connection
from csqa_loop.training.rules.attempts import Run


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
