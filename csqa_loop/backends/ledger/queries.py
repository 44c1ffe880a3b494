"""Questions the loop and the operator API ask the ledger."""

import json
from datetime import UTC, datetime
from typing import Any

import duckdb

from csqa_loop.domain import events as e
from csqa_loop.domain.intake import Letter, LogRecord
from csqa_loop.domain.operators import Interventions
from csqa_loop.domain.rollout import Experiment, LoopState, Run
from csqa_loop.domain.wire import decode

Connection = duckdb.DuckDBPyConnection
_KIND = {"pause": "pause", "resume": "pause", "stop": "stop", "promote": "order", "rollback": "order"}


def loop_state(connection: Connection, as_of: datetime) -> LoopState:
    """What the next decision rests on, all of one moment. Ties are broken by occurred_at, then event_id.

    `connection` must not be in a transaction.
    """
    connection.begin()
    try:
        return LoopState(
            deployment=current_deployment(connection),
            run=latest_run(connection),
            experiment=latest_experiment(connection),
            as_of=as_of,
            operators=interventions(connection),
        )
    finally:
        connection.rollback()


def current_deployment(connection: Connection) -> e.DeploymentChanged | None:
    """The highest revision."""
    row = connection.execute("SELECT body FROM deployments ORDER BY revision DESC, occurred_at DESC, event_id DESC LIMIT 1").fetchone()
    return e.DeploymentChanged.model_validate_json(row[0]) if row else None


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


def latest_experiment(connection: Connection, experiment_id: str | None = None) -> Experiment | None:
    """The experiment opened last (or the named one), with its present share and verdict."""
    row = connection.execute(
        "SELECT body FROM decisions WHERE type = 'ExperimentOpened' AND ($1 IS NULL OR experiment_id = $1) ORDER BY occurred_at DESC, event_id DESC LIMIT 1",
        [experiment_id],
    ).fetchone()
    if row is None:
        return None
    opened = e.ExperimentOpened.model_validate_json(row[0])
    rows = connection.execute(
        "SELECT type, body FROM decisions WHERE experiment_id = ? ORDER BY occurred_at, event_id", [opened.experiment_id]
    ).fetchall()
    shares = [json.loads(body)["share"] for name, body in rows if name == "ShareRaised"]
    verdicts = [e.VerdictReached.model_validate_json(body) for name, body in rows if name == "VerdictReached"]
    return Experiment(opened=opened, share=max([opened.share, *shares]), verdict=verdicts[0] if verdicts else None)


def interventions(connection: Connection) -> Interventions:
    """The pause that is in force, the last stop, and the last promote or rollback."""
    rows = connection.execute("SELECT body FROM decisions WHERE type = 'OperatorActed' ORDER BY occurred_at, event_id").fetchall()
    actions = [e.OperatorActed.model_validate_json(body) for (body,) in rows]
    latest = {_KIND[action.action]: action for action in actions}
    switched = latest.get("pause")
    return Interventions(
        paused=switched if switched and switched.action == "pause" else None,
        stop=latest.get("stop"),
        order=latest.get("order"),
        last_at=actions[-1].occurred_at if actions else None,
    )


# --- intake --------------------------------------------------------------------------------------------------------


def has_event(connection: Connection, event_id: str) -> bool:
    """Whether the ledger holds the event."""
    return connection.execute("SELECT 1 FROM events WHERE event_id = ?", [event_id]).fetchone() is not None


def next_offsets(connection: Connection) -> dict[tuple[str, int], tuple[int, str]]:
    """(topic, partition) -> (next offset, hash of the last record taken)."""
    rows = connection.execute("SELECT topic, partition, next_offset, last_record_sha FROM offsets").fetchall()
    return {(topic, partition): (offset, sha) for topic, partition, offset, sha in rows}


def recorded_counts(connection: Connection) -> dict[str, int]:
    """Chats (answers), feedback, bad cases and dead letters."""
    row = connection.execute(
        "SELECT (SELECT count(*) FROM answers), (SELECT count(*) FROM feedback), (SELECT count(*) FROM bad_cases), (SELECT count(*) FROM dead_letters)"
    ).fetchone()
    return dict(zip(("chats", "feedback", "bad_cases", "dead_letters"), row or (0, 0, 0, 0), strict=True))


def epoch(connection: Connection) -> int:
    """The current log epoch, from 1."""
    row = connection.execute("SELECT coalesce(max(epoch), 1) FROM epochs").fetchone()
    return int(row[0]) if row else 1


def epoch_debt(connection: Connection) -> tuple[int, list[e.Event]] | None:
    """The newest epoch whose log lacks the current facts, with those facts: policies, deployment, an unfinished run's request."""
    row = connection.execute("SELECT max(epoch) FROM epochs WHERE NOT republished").fetchone()
    if row is None or row[0] is None:
        return None
    bodies = connection.execute(
        "SELECT body FROM policies QUALIFY row_number() OVER (PARTITION BY policy_id ORDER BY occurred_at DESC, event_id DESC) = 1 ORDER BY policy_id"
    ).fetchall()
    events = [decode(e.PolicyPublished.topic, body.encode()) for (body,) in bodies]
    if deployment := current_deployment(connection):
        events.append(deployment)
    run = latest_run(connection)
    if run and not run.evaluated and not run.failed:
        events.append(run.request)
    return int(row[0]), events


def unpublished_letters(connection: Connection, most: int = 500) -> list[e.DeadLettered]:
    """Dead letters not yet in their topic, oldest first."""
    rows = connection.execute(
        'SELECT topic, partition, "offset", original_key, value, reason, event_id, occurred_at FROM dead_letters WHERE NOT published ORDER BY occurred_at LIMIT ?',
        [most],
    ).fetchall()
    return [
        Letter(LogRecord(topic, partition, offset, key, value), reason, event_id).as_event(occurred_at.astimezone(UTC))
        for topic, partition, offset, key, value, reason, event_id, occurred_at in rows
    ]
