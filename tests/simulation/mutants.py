"""Rules broken on purpose: each is what a careless change would do, and some interleaving must show it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from csqa_loop import events as e
from csqa_loop.rollout import decider as decider_module
from csqa_loop.rollout.decider import Decider
from csqa_loop.rollout.reconciler import Reconciler
from csqa_loop.rollout.rules import next_step as rules
from csqa_loop.rollout.rules.operators import Interventions
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.rollout.rules.steps import JudgeExperiment, Step
from csqa_loop.rollout.rules.unservable import instead
from csqa_loop.training.rules.attempts import Run
from tests.simulation.ledger import MemoryLedger
from tests.simulation.process import LoopProcess


def _steps_from(change: Callable[[LoopState], LoopState]) -> Callable[..., Step]:
    """The next step from another state than the true one."""

    def changed(state: LoopState, **limits: Any) -> Step:
        return rules.next_step(change(state), **limits)

    return changed


def publishes_before_residency(patch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Decider, step: Step, deployment: e.DeploymentChanged | None) -> None:
        return None

    patch.setattr(Decider, "_obstacle", nothing)


def asks_no_probe(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reconciler, "_holds", lambda self, replica, adapter: adapter in self.resident[replica])


def forgets_orders(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Interventions, "open_order", lambda self, carried_out: None)


def skips_the_pause(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decider_module, "next_step", _steps_from(lambda state: replace(state, operators=replace(state.operators, paused=None))))


def brings_back_what_was_overtaken(patch: pytest.MonkeyPatch) -> None:
    kept = rules._step_of_evaluated

    def changed(run: Run, evaluated: Any, deployment: Any, state: LoopState) -> Step | None:
        return kept(run, evaluated, deployment, replace(state, operators=replace(state.operators, order=None)))

    patch.setattr(rules, "_step_of_evaluated", changed)


def promotes_what_was_stopped(patch: pytest.MonkeyPatch) -> None:
    def changed(state: LoopState) -> LoopState:
        ended = state.experiment and state.experiment.verdict
        return replace(state, operators=replace(state.operators, stop=None)) if ended else state

    patch.setattr(decider_module, "next_step", _steps_from(changed))


def judges_twice(patch: pytest.MonkeyPatch) -> None:
    def changed(state: LoopState) -> LoopState:
        return replace(state, experiment=replace(state.experiment, verdict=None)) if state.experiment else state

    patch.setattr(decider_module, "next_step", _steps_from(changed))


def ignores_the_gate(patch: pytest.MonkeyPatch) -> None:
    def changed(state: LoopState) -> LoopState:
        run = state.run
        if run is None or run.evaluated is None:
            return state
        return replace(state, run=replace(run, evaluated=run.evaluated.model_copy(update={"passed": True})))

    patch.setattr(decider_module, "next_step", _steps_from(changed))


def counts_old_attempts(patch: pytest.MonkeyPatch) -> None:
    kept = MemoryLedger.run

    def changed(self: MemoryLedger) -> Run | None:
        run = kept(self)
        if run is None:
            return None
        said = [fact.event for (name, _), facts in self.attempts.items() if name == run.request.run_id for fact in facts]
        trained = [event for event in said if isinstance(event, e.AdapterTrained)]
        evaluated = [event for event in said if isinstance(event, e.AdapterEvaluated)]
        return replace(run, trained=trained[-1] if trained else None, evaluated=evaluated[-1] if evaluated else None)

    patch.setattr(MemoryLedger, "run", changed)


def claims_while_a_run_is_under_way(patch: pytest.MonkeyPatch) -> None:
    def changed(state: LoopState) -> LoopState:
        busy = state.run and not state.run.trained and not state.run.failed
        return replace(state, run=None) if busy else state

    patch.setattr(decider_module, "next_step", _steps_from(changed))


def decides_before_it_has_caught_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LoopProcess, "at_end", property(lambda self: True))


def forgets_what_it_published(patch: pytest.MonkeyPatch) -> None:
    kept = Decider._publish

    async def changed(self: Decider, decision: e.Event) -> bool:
        try:
            return await kept(self, decision)
        finally:
            self._pending = None

    patch.setattr(Decider, "_publish", changed)


class _Alike:
    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


def overlooks_orders_of_the_moment(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decider_module, "interventions", lambda ledger: _Alike())


def waits_for_a_share_for_ever(patch: pytest.MonkeyPatch) -> None:
    def changed(step: Any, state: LoopState, *rest: Any) -> Step:
        found = instead(step, state, *rest)
        return replace(found, experiment=state.experiment) if isinstance(found, JudgeExperiment) and state.experiment else found

    patch.setattr(decider_module, "instead", changed)


def takes_any_revision(patch: pytest.MonkeyPatch) -> None:
    kept = decider_module.deployment_after

    def changed(current: e.DeploymentChanged | None, *rest: Any) -> e.DeploymentChanged:
        deployment = kept(current, *rest)
        return deployment.model_copy(update={"revision": deployment.revision + (deployment.challenger is not None)})

    patch.setattr(decider_module, "deployment_after", changed)


MUTANTS = (
    publishes_before_residency,
    asks_no_probe,
    forgets_orders,
    skips_the_pause,
    brings_back_what_was_overtaken,
    promotes_what_was_stopped,
    judges_twice,
    ignores_the_gate,
    counts_old_attempts,
    claims_while_a_run_is_under_way,
    decides_before_it_has_caught_up,
    forgets_what_it_published,
    overlooks_orders_of_the_moment,
    waits_for_a_share_for_ever,
    takes_any_revision,
)
