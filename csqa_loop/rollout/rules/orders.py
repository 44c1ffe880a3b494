"""What an operator may ask for, given how things stand. Pure: a fact for the log, or a refusal that says what would be right."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from csqa_loop.errors import PermanentError
from csqa_loop.events import BASE, OperatorActed
from csqa_loop.rollout.rules.operators import NO_EXPERIMENT
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.rollout.rules.versions import AdapterRecord, champions

OrderAction = Literal["promote", "rollback", "pause", "resume", "stop"]


class OrderRefusedError(PermanentError):
    """The order cannot be carried out in the present state; nothing was recorded."""


@dataclass(frozen=True)
class Order:
    """What an operator asks for."""

    action: OrderAction
    operator: str
    reason: str
    target: str = ""
    """promote and rollback: an adapter, its version or `base`; stop: an experiment. Empty: the previous champion, or the open experiment."""
    override: bool = False


def acted(
    order: Order, state: LoopState, history: Sequence[AdapterRecord], past_champions: Sequence[str], *, event_id: UUID, now: datetime
) -> OperatorActed:
    """The event of the action.

    Args:
        order: What is asked for.
        state: How things stand.
        history: Every adapter, as `adapter_history` tells.
        past_champions: The champion of every deployment, oldest first.
        event_id: The fact's own.
        now: When it happens; an action is never older than the one before it, whatever the clock says.

    Raises:
        OrderRefusedError: it cannot be done; says why, and what could.
    """
    target, overridden = "", ""
    match order.action:
        case "promote":
            record = _named(history, order.target)
            target, overridden = record.adapter, _promotable(record, state, override=order.override)
        case "rollback":
            target = _target_of_rollback(order, state, history, past_champions)
        case "pause" | "resume":
            _switchable(order.action, state)
        case "stop":
            _stoppable(order.target, state)
    experiment = state.experiment
    last = state.operators.last_at
    return OperatorActed(
        event_id=event_id,
        occurred_at=max(now, last + timedelta(milliseconds=1)) if last else now,
        experiment_id=experiment.opened.experiment_id if experiment and not experiment.verdict else NO_EXPERIMENT,
        action=order.action,
        operator=order.operator,
        reason=order.reason,
        target=target,
        overridden=overridden,
    )


def objection(record: AdapterRecord) -> str:
    """What speaks against an adapter that the gate has judged; empty where nothing does."""
    if record.gate and not record.gate.passed:
        failed = "; ".join(_check_in_words(check.name, check.champion, check.candidate) for check in record.gate.checks if not check.passed)
        return f"the gate refused {record.adapter}" + (f" ({failed})" if failed else "")
    if record.verdict and record.verdict.verdict == "ROLL_BACK":
        return f"experiment {record.verdict.experiment_id} rolled {record.adapter} back ({record.verdict.stopped_by})"
    return ""


def _check_in_words(name: str, champion: float | None, candidate: float | None) -> str:
    return name if champion is None or candidate is None else f"{name}: champion {champion:.4g}, candidate {candidate:.4g}"


def _named(history: Sequence[AdapterRecord], name: str) -> AdapterRecord:
    for record in history:
        if name in {record.adapter, record.version}:
            return record
    raise OrderRefusedError(f"{name or 'no name'} is no adapter that was ever trained here; `csqa adapters` lists them with their versions")


def _present(state: LoopState) -> str:
    """The champion once the open order is carried out."""
    if state.deployment is None:
        raise OrderRefusedError("the loop has not deployed anything yet; ask again when it has")
    order = state.operators.open_order(state.deployment.order)
    return order.target if order else state.deployment.champion


def _judged(record: AdapterRecord) -> None:
    if record.gate is None:
        raise OrderRefusedError(f"{record.adapter} ({record.version}) was never evaluated; wait until its run has come through the gate")


def _promotable(record: AdapterRecord, state: LoopState, *, override: bool) -> str:
    if record.adapter == _present(state):
        raise OrderRefusedError(f"{record.adapter} ({record.version}) is the champion already, or on its way to be")
    if record.adapter == BASE:
        raise OrderRefusedError("the base is nothing to promote; `csqa rollback --to base` goes back to it")
    _judged(record)
    against = objection(record)
    if against and not override:
        raise OrderRefusedError(f"{against}; promote it all the same with --override, or choose another")
    return against


def _target_of_rollback(order: Order, state: LoopState, history: Sequence[AdapterRecord], past_champions: Sequence[str]) -> str:
    present = _present(state)
    if not order.target:
        way = champions([*past_champions, present])
        if len(way) < 2:
            raise OrderRefusedError(f"no champion is known from before {present}; name one with --to")
        return way[-2]
    record = _named(history, order.target)
    if record.adapter == present:
        raise OrderRefusedError(f"{record.adapter} ({record.version}) is the champion already, or on its way to be; name another with --to")
    if record.adapter != BASE:
        _judged(record)
    if not record.served and (against := objection(record)):
        raise OrderRefusedError(f"{against}, and it never was champion; `csqa promote --override` is the way")
    return record.adapter


def _switchable(action: Literal["pause", "resume"], state: LoopState) -> None:
    paused = state.operators.paused
    if action == "pause" and paused:
        raise OrderRefusedError(
            f"the loop is paused already, by {paused.operator} since {paused.occurred_at:%Y-%m-%d %H:%M} UTC: {paused.reason}"
        )
    if action == "resume" and not paused:
        raise OrderRefusedError("the loop is not paused; there is nothing to resume")


def _stoppable(experiment_id: str, state: LoopState) -> None:
    experiment = state.experiment
    if experiment is None or experiment.verdict:
        ended = f"; {experiment.opened.experiment_id} ended with {experiment.verdict.verdict}" if experiment and experiment.verdict else ""
        raise OrderRefusedError(f"no experiment is open{ended}")
    name = experiment.opened.experiment_id
    if experiment_id not in {"", name}:
        raise OrderRefusedError(f"{experiment_id} is not the open experiment; that is {name}")
    if state.operators.stop and state.operators.stop.experiment_id == name:
        raise OrderRefusedError(f"{name} is being stopped already, by {state.operators.stop.operator}: {state.operators.stop.reason}")
