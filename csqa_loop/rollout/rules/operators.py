"""What operators have decided, as far as the next step rests on it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from csqa_loop.events import OperatorActed

NO_EXPERIMENT = "none"
"""`experiment_id` of an action that was taken while no experiment was open."""


@dataclass(frozen=True)
class Interventions:
    """The last action of each kind; all come from the log, so that a crash forgets none and a replay repeats none."""

    paused: OperatorActed | None = None
    """The pause that nobody ended."""
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
