"""What the next decision rests on, read from the ledger."""

from datetime import UTC, datetime

from csqa_loop import events as e
from csqa_loop.experiment.state import latest_experiment
from csqa_loop.ledger.connection import Connection
from csqa_loop.rollout.rules.operators import Interventions
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.training.runs import latest_run

_KIND = {"pause": "pause", "resume": "pause", "stop": "stop", "promote": "order", "rollback": "order"}


def loop_state(connection: Connection, as_of: datetime) -> LoopState:
    """What the next decision rests on, all of one moment.

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
    # The loop counts them itself, each from the one before it in the log.
    row = connection.execute('SELECT body FROM deployments ORDER BY revision DESC, epoch DESC, "offset" DESC LIMIT 1').fetchone()
    return e.DeploymentChanged.model_validate_json(row[0]) if row else None


def interventions(connection: Connection) -> Interventions:
    """The pause that is in force, the last stop, and the last promote or rollback, by the log's order and dated by its time."""
    rows = connection.execute(
        "SELECT body, recorded_at FROM decisions WHERE type = 'OperatorActed' ORDER BY epoch, \"offset\", event_id"
    ).fetchall()
    actions = [
        e.OperatorActed.model_validate_json(body).model_copy(update={"occurred_at": moment.astimezone(UTC)}) for body, moment in rows
    ]
    latest = {_KIND[action.action]: action for action in actions}
    switched = latest.get("pause")
    return Interventions(
        paused=switched if switched and switched.action == "pause" else None,
        stop=latest.get("stop"),
        order=latest.get("order"),
        last_at=actions[-1].occurred_at if actions else None,
    )
