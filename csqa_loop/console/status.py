"""What the loop says of itself."""

from dataclasses import asdict
from typing import Any

from csqa_loop.console.parts import ConsoleParts
from csqa_loop.events import now
from csqa_loop.evidence import pair_queries as pairs
from csqa_loop.experiment.closed_users import past_experiments
from csqa_loop.experiment.rules.error_control import error_budget
from csqa_loop.experiment.rules.experiments import Experiment
from csqa_loop.ledger import bookkeeping
from csqa_loop.rollout.rules.next_step import in_flight
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.rollout.state import loop_state
from csqa_loop.training.rules.attempts import Run


async def status(parts: ConsoleParts, *, caught_up: bool) -> dict[str, Any]:
    """One JSON object: deployment, latest run and experiment, pairs, what is recorded."""
    state = await parts.ledger.ask(loop_state, now())
    busy = state.deployment is None or in_flight(state, max_attempts=parts.settings.trigger.max_attempts)
    deployment = state.deployment
    return {
        "caught_up": caught_up,
        "epoch": await parts.ledger.ask(bookkeeping.epoch),
        "busy": busy,
        "deployment": deployment
        and deployment.model_dump(
            mode="json", include={"revision", "champion", "challenger", "candidate", "share", "experiment", "cause", "occurred_at"}
        ),
        "operators": operators_status(state),
        "unservable": [asdict(trouble) | {"since": trouble.since.isoformat()} for trouble in parts.reconciler.troubles],
        "run": state.run and run_status(state.run),
        "experiment": state.experiment and await experiment_status(parts, state.experiment, settled=not busy),
        "proposals": parts.proposer.status() if parts.proposer else None,
        "pairs": await parts.ledger.ask(pairs.pair_counts),
        "recorded": await parts.ledger.ask(bookkeeping.recorded_counts),
        "expected_false_promotions": await false_promotions(parts),
    }


def operators_status(state: LoopState) -> dict[str, Any]:
    """The pause in force, and the promotion or roll-back that is not carried out yet."""
    shown = {"operator", "reason", "occurred_at", "action", "target"}
    order = state.operators.open_order(state.deployment.order) if state.deployment else None
    return {
        "paused": state.operators.paused and state.operators.paused.model_dump(mode="json", include=shown - {"action", "target"}),
        "order": order and order.model_dump(mode="json", include=shown),
    }


async def false_promotions(parts: ConsoleParts) -> dict[str, Any]:
    """What the experiments so far may have cost: the expected number of false promotions, and of the promotions their share, at most."""
    budget = error_budget(await parts.ledger.ask(past_experiments))
    return asdict(budget) | {"share_at_most": budget.share_at_most, "error_control": parts.settings.experiment.error_control}


def run_status(run: Run) -> dict[str, Any]:
    """One training run, flat."""
    progress, trained, ended = run.progress, run.trained, run.failed or run.unservable
    return {
        "run_id": run.request.run_id,
        "attempt": run.request.attempt,
        "state": run.state,
        "step": progress.step if progress else 0,
        "steps": progress.steps if progress else 0,
        "loss": progress.loss if progress else None,
        "pairs": len(run.request.pair_ids),
        "held_out_pairs": len(run.request.holdout_pair_ids),
        "champion": run.request.champion,
        "adapter": trained.adapter if trained else None,
        "seconds": trained.seconds if trained else None,
        "first_loss": trained.first_loss if trained else None,
        "metrics": trained.metrics if trained else {},
        "reason": ended.reason if ended else run.request.reason,
        "gate": run.evaluated.model_dump(mode="json", include={"passed", "checks"}) if run.evaluated else None,
    }


async def experiment_status(parts: ConsoleParts, experiment: Experiment, *, settled: bool) -> dict[str, Any]:
    """One experiment with its numbers: as recorded where a verdict has fallen, else as last seen."""
    opened = experiment.opened
    verdict, stopped_by, as_of, estimates = parts.examiner.seen(experiment)
    difference = next((row for row in estimates if row.metric == opened.contract.primary and row.arm == "difference"), None)
    users = {row.arm: row.users for row in estimates if row.metric == opened.contract.primary and row.arm != "difference"}
    exposed = await parts.examiner.exposed(opened.experiment_id)
    return {
        "id": opened.experiment_id,
        "run_id": opened.run_id,
        "alpha": opened.contract.alpha,
        "champion": opened.champion,
        "challenger": opened.challenger,
        "share": experiment.share,
        "n": {"challenger": users.get("challenger", 0), "control": users.get("control", 0)},
        "exposed": {"challenger": exposed[0], "control": exposed[1]},
        "excluded": {"seen_in_both_arms": await parts.examiner.in_both_arms(opened.experiment_id)},
        "estimate": difference.estimate if difference else None,
        "lower": difference.lower if difference else None,
        "upper": difference.upper if difference else None,
        "verdict": verdict,
        "stopped_by": stopped_by,
        "as_of": as_of.isoformat() if as_of else None,
        "settled": settled and experiment.verdict is not None,
        "estimates": [row.model_dump(mode="json") for row in estimates],
        "contract": opened.contract.model_dump(mode="json"),
    }
