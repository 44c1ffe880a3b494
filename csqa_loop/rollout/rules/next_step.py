"""What the loop does next, from what the ledger holds. Pure: called again after a crash it gives the same step again."""

from dataclasses import replace
from datetime import timedelta

from csqa_loop.events import BASE, AdapterEvaluated, DeploymentChanged, OperatorActed
from csqa_loop.experiment.rules.experiments import Experiment
from csqa_loop.rollout.rules.operators import Interventions, by_hand, by_hand_later
from csqa_loop.rollout.rules.residency import resident_adapters
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.rollout.rules.steps import Deploy, EndExperiment, FailRun, JudgeExperiment, LookForWork, OpenExperiment, RetryRun, Step, Wait
from csqa_loop.training.rules.attempts import Run, pause_after


def next_step(state: LoopState, *, progress_timeout: timedelta, max_attempts: int) -> Step:
    """The one thing to do now."""
    deployment = state.deployment
    if deployment is None:
        return Deploy(champion=BASE, cause="first start")
    if state.experiment and (action := _ended_by(state.experiment, state.operators, deployment)):
        return EndExperiment(state.experiment, by_hand(action))
    if order := state.operators.open_order(deployment.order):
        return _step_of_order(order, deployment, state)
    if state.experiment and _unsettled(state.experiment, deployment, state.run):
        return _step_of_experiment(state.experiment, deployment, state.operators)
    step = _step_of_run(state.run, deployment, state, progress_timeout, max_attempts) if state.run else None
    if state.operators.paused and (step is None or isinstance(step, OpenExperiment)):
        return Wait("an operator, who paused the loop")
    return step or LookForWork()


def in_flight(state: LoopState, *, max_attempts: int) -> bool:
    """Whether a run or an experiment is open, or a verdict is not yet deployed."""
    unpaused = replace(state, operators=replace(state.operators, paused=None))
    step = next_step(unpaused, progress_timeout=timedelta.max, max_attempts=max_attempts)
    return not isinstance(step, LookForWork) and state.deployment is not None


def _unsettled(experiment: Experiment, deployment: DeploymentChanged, run: Run | None) -> bool:
    if experiment.verdict is None or deployment.experiment == experiment.opened.experiment_id:
        return True
    # A verdict is deployed when the deployment no longer names the experiment; a newer run supersedes the experiment.
    newest = run is None or run.request.run_id == experiment.opened.run_id
    return newest and deployment.candidate == experiment.opened.challenger


def _ended_by(experiment: Experiment, operators: Interventions, deployment: DeploymentChanged) -> OperatorActed | None:
    if experiment.verdict:
        return None
    if operators.stop and operators.stop.experiment_id == experiment.opened.experiment_id:
        return operators.stop
    return operators.open_order(deployment.order)


def at_the_gate(run: Run | None) -> str | None:
    """The adapter that the gate is judging, or about to: it asks the model server for it."""
    return run.trained.adapter if run and run.trained and not run.evaluated and not run.failed else None


def _step_of_order(order: OperatorActed, deployment: DeploymentChanged, state: LoopState) -> Deploy:
    if order.target in {BASE, deployment.champion} | resident_adapters(deployment, state.as_of):
        gating = at_the_gate(state.run)
        return Deploy(
            champion=order.target,
            previous_champion=deployment.champion if deployment.champion != order.target else None,
            candidate=gating if gating != order.target else None,
            cause=by_hand(order),
            order=order.event_id,
            retreat=order.action == "rollback",
        )
    return Deploy(champion=deployment.champion, candidate=order.target, cause=by_hand_later(order))


def _step_of_experiment(experiment: Experiment, deployment: DeploymentChanged, operators: Interventions) -> Step:
    opened, verdict = experiment.opened, experiment.verdict
    if verdict is None:
        if operators.paused:
            return JudgeExperiment(experiment, may_advance=False)
        if deployment.experiment != opened.experiment_id or deployment.share != experiment.share:
            return Deploy(
                champion=opened.champion,
                challenger=opened.challenger,
                share=experiment.share,
                salt=opened.salt,
                experiment=opened.experiment_id,
                cause=f"experiment {opened.experiment_id} at share {experiment.share:g}",
            )
        return JudgeExperiment(experiment)
    cause = f"{verdict.verdict}: {verdict.stopped_by}"
    if verdict.verdict != "PROMOTE":
        return Deploy(champion=opened.champion, cause=cause)
    if operators.stop and operators.stop.experiment_id == opened.experiment_id:
        # Verdict and stop were on their way at the same moment: the person's word counts.
        return Deploy(champion=opened.champion, cause=by_hand(operators.stop))
    if operators.paused:
        return Wait("an operator, who paused the loop")
    return Deploy(champion=opened.challenger, previous_champion=opened.champion, cause=cause)


def _step_of_run(run: Run, deployment: DeploymentChanged, state: LoopState, progress_timeout: timedelta, max_attempts: int) -> Step | None:
    request = run.request
    if run.evaluated:
        return _step_of_evaluated(run, run.evaluated, deployment, state)
    if run.failed or run.is_silent(state.as_of, progress_timeout):
        cause = run.failed.reason if run.failed else f"no sign of life for {progress_timeout.total_seconds():g} s"
        if request.attempt < max_attempts and not (run.failed and run.failed.final):
            if run.failed and state.as_of - run.failed.occurred_at < pause_after(request.attempt):
                return Wait(f"the pause before attempt {request.attempt + 1}: {cause}")
            return RetryRun(request, cause)
        if not run.failed:
            return FailRun(request, cause)
        if deployment.candidate:
            return Deploy(champion=deployment.champion, cause=f"run {request.run_id} failed: {cause}")
        return None
    if run.trained:
        if deployment.candidate != run.trained.adapter:
            return Deploy(
                champion=deployment.champion, candidate=run.trained.adapter, cause=f"run {request.run_id} trained {run.trained.adapter}"
            )
        return Wait("the offline gate")
    return Wait("training")


def _step_of_evaluated(run: Run, evaluated: AdapterEvaluated, deployment: DeploymentChanged, state: LoopState) -> Step | None:
    experiment, order = state.experiment, state.operators.order
    if experiment and experiment.opened.run_id == run.request.run_id:
        return None  # settled: an unsettled one is handled before
    # An order ends an experiment that was about to open too: what was rolled back by hand does not come back by itself.
    overtaken = order is not None and order.occurred_at >= evaluated.occurred_at
    if evaluated.passed and not overtaken and not run.unservable and evaluated.adapter != deployment.champion:
        if deployment.candidate != evaluated.adapter:
            return Deploy(champion=deployment.champion, candidate=evaluated.adapter, cause=f"the gate passed {evaluated.adapter}")
        return OpenExperiment(run_id=run.request.run_id, champion=deployment.champion, challenger=evaluated.adapter)
    if not deployment.candidate:
        return None
    if run.unservable:
        cause = f"given up: {evaluated.adapter} cannot be served: {run.unservable.reason}"
    elif overtaken:
        cause = f"an operator's order came after {evaluated.adapter}"
    else:
        cause = f"the gate refused {evaluated.adapter}" if not evaluated.passed else f"{evaluated.adapter} is champion already"
    return Deploy(champion=deployment.champion, cause=cause)
