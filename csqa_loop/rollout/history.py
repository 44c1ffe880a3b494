"""Decisions of the past: for the audit, and for what an operator may ask."""

from collections.abc import Sequence

from csqa_loop import events as e
from csqa_loop.events.wire import decode
from csqa_loop.ledger.connection import Connection
from csqa_loop.rollout.rules.audit import AuditEntry, audit
from csqa_loop.rollout.rules.versions import AdapterRecord, adapter_history

_TRAINING, _DECISIONS, _DEPLOYMENTS = e.TrainingEvent.topic, e.DecisionEvent.topic, e.DeploymentChanged.topic


def audit_entries(connection: Connection, limit: int) -> list[AuditEntry]:
    """The last decisions, newest first."""
    rows = connection.execute(
        """
        SELECT topic, body FROM (
            SELECT $training AS topic, body, recorded_at, event_id FROM training_events WHERE type IN ('TrainingRequested', 'AdapterEvaluated', 'AdapterUnservable')
            UNION ALL SELECT $decisions, body, recorded_at, event_id FROM decisions WHERE type <> 'LedgerOpened' OR (body ->> 'taken_over_by') <> ''
            UNION ALL SELECT $deployments, body, recorded_at, event_id FROM deployments
        ) ORDER BY recorded_at DESC, event_id DESC LIMIT $limit
        """,
        {"training": _TRAINING, "decisions": _DECISIONS, "deployments": _DEPLOYMENTS, "limit": limit},
    ).fetchall()
    acted = connection.execute("SELECT body FROM decisions WHERE type = 'OperatorActed'").fetchall()
    actions = [e.OperatorActed.model_validate_json(body) for (body,) in acted]
    return audit([decode(topic, body.encode()) for topic, body in rows], actions)


def adapter_records(connection: Connection) -> tuple[list[AdapterRecord], Sequence[str]]:
    """(every adapter, the champion of every deployment by revision)."""
    training = connection.execute(
        "SELECT body FROM training_events WHERE type IN ('AdapterTrained', 'AdapterEvaluated', 'AdapterUnservable') ORDER BY epoch, \"offset\", event_id"
    ).fetchall()
    decided = connection.execute(
        "SELECT body FROM decisions WHERE type IN ('ExperimentOpened', 'VerdictReached') ORDER BY epoch, \"offset\", event_id"
    ).fetchall()
    deployed = connection.execute('SELECT body, champion FROM deployments ORDER BY revision, epoch, "offset"').fetchall()
    events = [decode(_TRAINING, body.encode()) for (body,) in training]
    events += [decode(_DECISIONS, body.encode()) for (body,) in decided]
    events += [decode(_DEPLOYMENTS, body.encode()) for body, _ in deployed]
    return adapter_history(events), [champion for _, champion in deployed]
