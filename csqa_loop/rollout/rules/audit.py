"""Decisions as people read them: what, who, why, and the numbers behind it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from csqa_loop.events import (
    AdapterEvaluated,
    AdapterUnservable,
    DeploymentChanged,
    Event,
    ExperimentOpened,
    LedgerOpened,
    LetterHandled,
    OperatorActed,
    ShareRaised,
    TrainingRequested,
    VerdictReached,
)
from csqa_loop.rollout.rules.operators import NO_EXPERIMENT, came_of

LOOP = "loop"
"""Named as the one who decided where no person did."""


@dataclass(frozen=True)
class AuditEntry:
    """One decision. `about` is a run, an experiment or an adapter; `numbers` are as recorded with the decision."""

    occurred_at: datetime
    event_id: UUID
    what: str
    about: str
    who: str
    why: str
    numbers: dict[str, Any]


def audit(events: Iterable[Event], actions: Sequence[OperatorActed]) -> list[AuditEntry]:
    """An entry a decision, in the order given. What follows from one of `actions` is the operator's."""
    entries: list[AuditEntry] = []
    for event in events:
        what, about, why, numbers = _described(event)
        entries.append(AuditEntry(event.occurred_at, event.event_id, what, about, _decider(event, actions), why, numbers))
    return entries


def _decider(event: Event, actions: Sequence[OperatorActed]) -> str:
    if isinstance(event, LedgerOpened):
        return event.taken_over_by
    if isinstance(event, OperatorActed | LetterHandled):
        return event.operator
    return next((action.operator for action in actions if came_of(event, action)), LOOP)


def _described(event: Event) -> tuple[str, str, str, dict[str, Any]]:
    """(what, about, why, numbers) of a decision."""
    numbers: dict[str, Any]
    match event:
        case OperatorActed():
            about = event.target or ("" if event.experiment_id == NO_EXPERIMENT else event.experiment_id)
            return event.action, about, event.reason, {"overridden": event.overridden} if event.overridden else {}
        case LetterHandled():
            return f"letter {event.action}", event.letter_id[:12], event.reason, {}
        case LedgerOpened():
            return "ledger took over", event.ledger_id, event.reason, {"term": event.term, "host": event.host, "folder": event.folder}
        case VerdictReached():
            numbers = {"as_of": event.as_of.isoformat(), "estimates": [row.model_dump(mode="json") for row in event.estimates]}
            return f"verdict {event.verdict}", event.experiment_id, event.stopped_by, numbers
        case ExperimentOpened():
            against = f"{event.challenger} passed the gate; against {event.champion}"
            return "experiment opened", event.experiment_id, against, {"alpha": event.contract.alpha, "share": event.share}
        case ShareRaised():
            return "share raised", event.experiment_id, "enough closed users in both arms, and no harm seen", {"share": event.share}
        case DeploymentChanged():
            numbers = event.model_dump(mode="json", include={"revision", "champion", "challenger", "candidate", "share", "experiment"})
            return "deployed", event.champion, event.cause, numbers
        case AdapterEvaluated():
            numbers = {"champion": event.champion, "checks": [check.model_dump(mode="json") for check in event.checks]}
            failed = ", ".join(check.name for check in event.checks if not check.passed)
            why = f"failed: {failed}" if failed else f"no check failed against {event.champion}"
            return "gate passed" if event.passed else "gate refused", event.adapter, why, numbers
        case AdapterUnservable():
            return "adapter given up", event.adapter, event.reason, {"run_id": event.run_id, "attempt": event.attempt}
        case TrainingRequested():
            numbers = {"attempt": event.attempt, "pairs": len(event.pair_ids), "held_out_pairs": len(event.holdout_pair_ids)}
            return "run requested", event.run_id, event.reason, numbers
        case _:
            raise TypeError(f"{event.type} is no decision")
