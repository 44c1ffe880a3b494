"""What to do where the adapter of a step cannot be served: wait, for as long as that may help, then give it up. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from csqa_loop.events import BASE, DeploymentChanged
from csqa_loop.rollout.rules.next_step import at_the_gate
from csqa_loop.rollout.rules.operators import by_hand
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.rollout.rules.steps import Deploy, EndExperiment, FailRun, GiveUp, JudgeExperiment, OpenExperiment, Step, Wait


@dataclass(frozen=True)
class Trouble:
    """A replica that answers and cannot serve an adapter."""

    replica: str
    adapter: str
    since: datetime
    reason: str


@dataclass(frozen=True)
class Obstacle:
    """Why an adapter gets no traffic yet."""

    adapter: str
    reason: str
    since: datetime | None = None
    """When a replica that answers was first seen to lack it. None: nothing speaks against the adapter itself, an outage say."""
    final: bool = False
    """Whether waiting cannot help."""


def newcomer(step: Deploy | OpenExperiment, deployment: DeploymentChanged | None) -> str | None:
    """The adapter that gets traffic, or more of it than it has. The base is always there."""
    if isinstance(step, OpenExperiment):
        return step.challenger
    present = deployment.champion if deployment else BASE
    return step.challenger or (step.champion if step.champion not in {BASE, present} else None)


def instead(step: Deploy | OpenExperiment, state: LoopState, obstacle: Obstacle, within: timedelta) -> Step:
    """The step to take where `obstacle` is in the way of `step`.

    Args:
        step: What would be next.
        state: What it follows from.
        obstacle: What is in its way.
        within: How long replicas that answer may be in trouble with an adapter before it is given up.
    """
    hopeless = obstacle.final or (obstacle.since is not None and state.as_of - max(obstacle.since, _last_decided(state)) >= within)
    waiting = Wait(f"{obstacle.adapter} on every replica: {obstacle.reason}")
    run, deployment, experiment = state.run, state.deployment, state.experiment
    if deployment is None:
        return waiting
    if isinstance(step, Deploy) and (order := state.operators.open_order(deployment.order)):
        cause = f"given up: {by_hand(order)}; {obstacle.adapter} cannot be served: {obstacle.reason}"
        cancelled = Deploy(champion=deployment.champion, candidate=at_the_gate(run), cause=cause, order=order.event_id)
        return cancelled if hopeless else waiting
    if isinstance(step, Deploy) and step.challenger and experiment:
        if hopeless and deployment.experiment != experiment.opened.experiment_id:
            return EndExperiment(experiment, f"{obstacle.adapter} cannot be served: {obstacle.reason}")
        # What the challenger already has may be doing harm while it waits for more. By the share that customers see: at a smaller one than
        # the last nothing can win, so the experiment ends in time.
        return JudgeExperiment(replace(experiment, share=deployment.share), may_advance=False)
    if not hopeless:
        return waiting
    if isinstance(step, Deploy) and step.champion == obstacle.adapter:
        return Deploy(champion=deployment.champion, cause=f"given up: {step.cause}; {obstacle.adapter} cannot be served: {obstacle.reason}")
    if run is None:
        return waiting
    # Another attempt makes a lost adapter again; what the gate has passed is not trained a second time.
    return GiveUp(run.request, obstacle.adapter, obstacle.reason) if run.evaluated else FailRun(run.request, obstacle.reason)


def _last_decided(state: LoopState) -> datetime:
    """When the latest decision was taken: replicas can have lacked an adapter that is needed now only since then."""
    verdict = state.experiment.verdict if state.experiment else None
    facts = (state.deployment, state.run and state.run.evaluated, verdict)
    moments = [*(fact.occurred_at for fact in facts if fact), *filter(None, [state.operators.last_at])]
    return max(moments)
