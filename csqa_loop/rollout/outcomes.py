"""What came of an operator's order."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from csqa_loop.events import OperatorActed
from csqa_loop.ledger.connection import Connection
from csqa_loop.rollout.state import interventions

OrderState = Literal["open", "carried_out", "given_up", "overtaken"]


@dataclass(frozen=True)
class OrderOutcome:
    """`open`: the loop has still to carry it out. `given_up`: its adapter cannot be served. `overtaken`: another order came before it was carried out."""

    state: OrderState
    target: str
    detail: str = ""


def order_outcome(connection: Connection, event_id: UUID) -> OrderOutcome | None:
    """What the ledger says of the order with this event_id; None where it holds none."""
    row = connection.execute("SELECT body FROM decisions WHERE type = 'OperatorActed' AND event_id = $1", [event_id]).fetchone()
    if row is None:
        return None
    order = OperatorActed.model_validate_json(row[0])
    match order.action:
        case "pause" | "resume":
            return OrderOutcome("carried_out", order.target)
        case "stop":
            ended = connection.execute(
                "SELECT body ->> 'stopped_by' FROM verdicts WHERE experiment_id = $1", [order.experiment_id]
            ).fetchone()
            return OrderOutcome("carried_out" if ended else "open", order.target, ended[0] if ended else "")
    deployed = connection.execute(
        "SELECT champion, body ->> 'cause' FROM deployments WHERE body ->> 'order' = $1 ORDER BY revision LIMIT 1", [str(event_id)]
    ).fetchone()
    if deployed:
        return OrderOutcome("carried_out" if deployed[0] == order.target else "given_up", order.target, deployed[1])
    last = interventions(connection).order
    if last is not None and last.event_id != event_id:
        return OrderOutcome("overtaken", order.target, f"{last.action} {last.target} by {last.operator} came after it")
    return OrderOutcome("open", order.target)
