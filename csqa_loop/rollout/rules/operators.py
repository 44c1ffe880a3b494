"""What operators have decided, as far as the next step rests on it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from csqa_loop.events import DeploymentChanged, Event, OperatorActed, VerdictReached

NO_EXPERIMENT = "none"
"""`experiment_id` of an action that was taken while no experiment was open."""


@dataclass(frozen=True)
class Interventions:
    """The last action of each kind; all come from the log, so that a crash forgets none and a replay repeats none."""

    paused: OperatorActed | None = None
    """The pause in force: no resume has followed it."""
    stop: OperatorActed | None = None
    order: OperatorActed | None = None
    """The last promote or rollback, carried out or not."""
    last_at: datetime | None = None
    """When the last action of any kind was taken."""

    def open_order(self, carried_out: UUID | None) -> OperatorActed | None:
        """The order that no deployment has carried out yet. One that was overtaken by another never will be."""
        return self.order if self.order and self.order.event_id != carried_out else None


def by_hand(action: OperatorActed) -> str:
    """The cause of everything that follows from an action."""
    return f"operator {action.operator}: {action.reason}"


def by_hand_later(order: OperatorActed) -> str:
    """The cause of the deployment that has an ordered adapter loaded, before the one that makes it champion."""
    return f"{by_hand(order)} ({order.target} is made resident first)"


def came_of(event: Event, action: OperatorActed) -> bool:
    """Whether the loop published a verdict or a deployment because of this very action.

    By ids: the experiment that the action ended, the order that the deployment carries out, the adapter that it has loaded. They need the
    cause beside them, word for word: every later revision repeats an order's id, and experiments also end by their numbers.
    Deployments from before `order` existed have no id of it; of them the cause alone is known.
    """
    match event:
        case VerdictReached():
            # An order that was given while the experiment was opening ends it and does not name it.
            return action.experiment_id in {event.experiment_id, NO_EXPERIMENT} and event.stopped_by == by_hand(action)
        case DeploymentChanged(cause=cause) if cause == by_hand_later(action):
            return event.candidate == action.target
        case DeploymentChanged(order=order):
            return order in {action.event_id, None} and event.cause == by_hand(action)
        case _:
            return False
