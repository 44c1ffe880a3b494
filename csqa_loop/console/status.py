"""The loop's status."""

from csqa_loop.console.answers import (
    FalsePromotions,
    Gate,
    OpenOrder,
    Operators,
    PairCounts,
    Pause,
    Recorded,
    RunStatus,
    Serving,
    Status,
    Unservable,
)
from csqa_loop.console.parts import ConsoleParts
from csqa_loop.events import now
from csqa_loop.evidence import pair_queries as pairs
from csqa_loop.experiment.closed_users import past_experiments
from csqa_loop.experiment.rules.error_control import error_budget
from csqa_loop.experiment.status import experiment_status
from csqa_loop.ledger import bookkeeping
from csqa_loop.ledger.epochs import epoch
from csqa_loop.rollout.rules.next_step import in_flight
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.rollout.state import loop_state
from csqa_loop.training.rules.attempts import Run


async def status(parts: ConsoleParts, *, caught_up: bool) -> Status:
    """Deployment, latest run and experiment, pairs, what is recorded."""
    state = await parts.ledger.ask(loop_state, now())
    busy = state.deployment is None or in_flight(state, max_attempts=parts.settings.trigger.max_attempts)
    return Status(
        caught_up=caught_up,
        epoch=await parts.ledger.ask(epoch),
        busy=busy,
        deployment=Serving.model_validate(state.deployment) if state.deployment else None,
        operators=_operators(state),
        unservable=tuple(
            Unservable(replica=trouble.replica, adapter=trouble.adapter, since=trouble.since.isoformat(), reason=trouble.reason)
            for trouble in parts.reconciler.troubles
        ),
        run=run_status(state.run) if state.run else None,
        experiment=await experiment_status(parts.examiner, state.experiment, settled=not busy) if state.experiment else None,
        experiment_refused=parts.examiner.refusal,
        proposals=parts.proposer.status() if parts.proposer else None,
        pairs=PairCounts(**await parts.ledger.ask(pairs.pair_counts)),
        recorded=Recorded(**await parts.ledger.ask(bookkeeping.recorded_counts)),
        misdated=await parts.ledger.ask(bookkeeping.misdated),
        expected_false_promotions=await false_promotions(parts),
    )


def _operators(state: LoopState) -> Operators:
    paused = state.operators.paused
    order = state.operators.open_order(state.deployment.order) if state.deployment else None
    return Operators(paused=Pause.model_validate(paused) if paused else None, order=OpenOrder.model_validate(order) if order else None)


async def false_promotions(parts: ConsoleParts) -> FalsePromotions:
    """What the experiments so far may have cost."""
    budget = error_budget(await parts.ledger.ask(past_experiments))
    return FalsePromotions(
        experiments=budget.experiments,
        promotions=budget.promotions,
        expected_false=budget.expected_false,
        share_at_most=budget.share_at_most,
        error_control=parts.settings.experiment.error_control,
    )


def run_status(run: Run) -> RunStatus:
    """One training run, flat."""
    progress, trained, ended = run.progress, run.trained, run.failed or run.unservable
    return RunStatus(
        run_id=run.request.run_id,
        attempt=run.request.attempt,
        state=run.state,
        step=progress.step if progress else 0,
        steps=progress.steps if progress else 0,
        loss=progress.loss if progress else None,
        pairs=len(run.request.pair_ids),
        held_out_pairs=len(run.request.holdout_pair_ids),
        champion=run.request.champion,
        adapter=trained.adapter if trained else None,
        seconds=trained.seconds if trained else None,
        first_loss=trained.first_loss if trained else None,
        metrics=dict(trained.metrics) if trained else {},
        reason=ended.reason if ended else run.request.reason,
        gate=Gate.model_validate(run.evaluated) if run.evaluated else None,
    )
