"""The one next step, for every state the ledger can be in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.cycle.promote import deployment_after
from csqa_loop.domain import events as e
from csqa_loop.domain.operators import Interventions
from csqa_loop.domain.rollout import (
    DRAIN,
    Deploy,
    EndExperiment,
    Experiment,
    FailRun,
    JudgeExperiment,
    LookForWork,
    LoopState,
    OpenExperiment,
    RetryRun,
    Run,
    Step,
    Wait,
    experiment_id,
    in_flight,
    next_step,
    resident_adapters,
)

T0 = datetime(2026, 5, 4, tzinfo=UTC)
OLD, NEW = "a-00000000000000aa", "a-00000000000000bb"
CONTRACT = e.ExperimentContract(
    primary="satisfaction",
    guardrails=(),
    alpha=0.05,
    window_seconds=1,
    burn_in_users=10,
    max_users=99,
    max_seconds=99,
    ramp=(0.4, 1.0),
    ramp_users=5,
)
REQUEST = e.TrainingRequested(occurred_at=T0, run_id="r-1", attempt=1, reason="enough", champion=OLD, pair_ids=("p",), data_hash="h")
RUN = Run(request=REQUEST, last_sign=T0)
OF_RUN = {"occurred_at": T0, "run_id": "r-1", "attempt": 1}
PROGRESS = e.TrainingProgress(stage="training", **OF_RUN)
TRAINED = e.AdapterTrained(adapter=NEW, parent=OLD, recipe_hash="x", data_hash="h", pairs=1, seconds=1, **OF_RUN)
FAILED = e.TrainingFailed(stage="training", reason="out of memory", **OF_RUN)
PASSED = e.AdapterEvaluated(adapter=NEW, champion=OLD, passed=True, **OF_RUN)
REFUSED = PASSED.model_copy(update={"passed": False})
OPENED = e.ExperimentOpened(
    occurred_at=T0, experiment_id="x-1-1", run_id="r-1", champion=OLD, challenger=NEW, salt="s", share=0.4, contract=CONTRACT
)
OPEN = Experiment(opened=OPENED, share=0.4)


def deployed(champion=OLD, **more) -> e.DeploymentChanged:
    return e.DeploymentChanged(occurred_at=T0, revision=3, champion=champion, **more)


def verdict(name) -> e.VerdictReached:
    return e.VerdictReached(occurred_at=T0, experiment_id="x-1-1", verdict=name, as_of=T0, stopped_by="why", estimates=())


def step(deployment, run=None, experiment=None, *, later: float = 1.0, max_attempts: int = 3) -> Step:
    state = LoopState(deployment=deployment, run=run, experiment=experiment, as_of=T0 + timedelta(seconds=later))
    return next_step(state, progress_timeout=timedelta(seconds=300), max_attempts=max_attempts)


def test_the_first_champion_is_the_base():
    assert step(None) == Deploy(champion="base", cause="first start")


def test_with_nothing_in_flight_work_is_looked_for():
    assert step(deployed()) == LookForWork()


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [RUN, replace(RUN, progress=PROGRESS)])
def test_a_run_in_training_is_waited_for(run: Run):
    assert isinstance(step(deployed(), run), Wait)


def test_a_trained_adapter_becomes_the_candidate_and_then_waits_for_the_gate():
    run = replace(RUN, trained=TRAINED)
    offered = step(deployed(), run)
    assert isinstance(offered, Deploy)
    assert (offered.champion, offered.candidate, offered.challenger) == (OLD, NEW, None)
    assert isinstance(step(deployed(candidate=NEW), run), Wait)


@pytest.mark.parametrize("run", [RUN, replace(RUN, progress=PROGRESS), replace(RUN, trained=TRAINED)])
def test_a_silent_run_gets_its_next_attempt_and_in_the_end_fails(run: Run):
    assert not isinstance(step(deployed(candidate=NEW), run, later=300), RetryRun)
    assert isinstance(step(deployed(candidate=NEW), run, later=301), RetryRun)
    assert isinstance(step(deployed(candidate=NEW), run, later=301, max_attempts=1), FailRun)


def test_a_failed_run_is_tried_again_then_given_up():
    run = replace(RUN, failed=FAILED)
    again = step(deployed(), run)
    assert isinstance(again, RetryRun)
    assert again.cause == "out of memory"
    assert step(deployed(), run, max_attempts=1) == LookForWork()
    cleared = step(deployed(candidate=NEW), run, max_attempts=1)
    assert isinstance(cleared, Deploy)
    assert (cleared.champion, cleared.candidate) == (OLD, None)


def test_the_gate_opens_an_experiment_or_clears_the_candidate():
    assert step(deployed(candidate=NEW), replace(RUN, trained=TRAINED, evaluated=PASSED)) == OpenExperiment("r-1", OLD, NEW)
    cleared = step(deployed(candidate=NEW), replace(RUN, trained=TRAINED, evaluated=REFUSED))
    assert isinstance(cleared, Deploy)
    assert (cleared.champion, cleared.candidate) == (OLD, None)
    assert step(deployed(), replace(RUN, trained=TRAINED, evaluated=REFUSED)) == LookForWork()


def test_an_adapter_equal_to_the_champion_is_no_challenger():
    run = replace(RUN, trained=TRAINED, evaluated=PASSED)
    assert step(deployed(champion=NEW), run) == LookForWork()


@pytest.mark.parametrize(
    ("run", "state"),
    [
        (RUN, "requested"),
        (replace(RUN, progress=PROGRESS), "training"),
        (replace(RUN, progress=PROGRESS, trained=TRAINED), "trained"),
        (replace(RUN, progress=PROGRESS.model_copy(update={"stage": "evaluating"}), trained=TRAINED), "evaluating"),
        (replace(RUN, trained=TRAINED, evaluated=PASSED), "passed"),
        (replace(RUN, trained=TRAINED, evaluated=REFUSED), "refused"),
        (replace(RUN, failed=FAILED), "failed"),
    ],
)
def test_states_of_a_run(run: Run, state: str):
    assert run.state == state


# --- experiments ----------------------------------------------------------------------------------------------------

GATED = replace(RUN, trained=TRAINED, evaluated=PASSED)
ON_TRIAL = deployed(challenger=NEW, share=0.4, salt="s", experiment="x-1-1")


def test_an_opened_experiment_is_deployed_then_judged():
    first = step(deployed(candidate=NEW), GATED, OPEN)
    assert isinstance(first, Deploy)
    assert (first.champion, first.challenger, first.share, first.salt, first.experiment) == (OLD, NEW, 0.4, "s", "x-1-1")
    assert step(ON_TRIAL, GATED, OPEN) == JudgeExperiment(OPEN)


def test_a_raised_share_is_deployed():
    raised = step(ON_TRIAL, GATED, replace(OPEN, share=1.0))
    assert isinstance(raised, Deploy)
    assert (raised.share, raised.challenger, raised.salt) == (1.0, NEW, "s")


@pytest.mark.parametrize("deployment", [ON_TRIAL, deployed(candidate=NEW)], ids=["on trial", "judged before it was deployed"])
@pytest.mark.parametrize(
    ("name", "champion", "previous"), [("PROMOTE", NEW, OLD), ("ROLL_BACK", OLD, None), ("INCONCLUSIVE", OLD, None), ("INVALID", OLD, None)]
)
def test_a_verdict_is_deployed_once(deployment, name, champion, previous):
    settled = replace(OPEN, verdict=verdict(name))
    done = step(deployment, GATED, settled)
    assert isinstance(done, Deploy)
    assert (done.champion, done.previous_champion, done.challenger, done.candidate, done.experiment) == (
        champion,
        previous,
        None,
        None,
        None,
    )
    assert name in done.cause
    assert step(deployed(champion=champion), GATED, settled) == LookForWork()


def test_a_settled_experiment_does_not_hold_up_the_next_run():
    settled = replace(OPEN, verdict=verdict("PROMOTE"))
    request = REQUEST.model_copy(update={"run_id": "r-2", "champion": NEW})
    assert isinstance(step(deployed(champion=NEW), Run(request=request, last_sign=T0), settled), Wait)


def test_the_next_run_may_offer_the_same_adapter_again():
    settled = replace(OPEN, verdict=verdict("INCONCLUSIVE"))
    again = Run(
        request=REQUEST.model_copy(update={"run_id": "r-2"}), last_sign=T0, trained=TRAINED.model_copy(update={"run_id": "r-2"}),
        evaluated=PASSED.model_copy(update={"run_id": "r-2"}),
    )  # fmt: skip
    assert step(deployed(candidate=NEW), again, settled) == OpenExperiment("r-2", OLD, NEW)


@pytest.mark.parametrize(
    ("deployment", "run", "experiment", "busy"),
    [
        (None, None, None, False),
        (deployed(), None, None, False),
        (deployed(), RUN, None, True),
        (deployed(candidate=NEW), replace(RUN, trained=TRAINED), None, True),
        (deployed(candidate=NEW), GATED, None, True),
        (ON_TRIAL, GATED, OPEN, True),
        (ON_TRIAL, GATED, replace(OPEN, verdict=verdict("PROMOTE")), True),
        (deployed(champion=NEW), GATED, replace(OPEN, verdict=verdict("PROMOTE")), False),
    ],
)
def test_busy_from_request_to_deployed_verdict(deployment, run, experiment, busy):
    state = LoopState(deployment=deployment, run=run, experiment=experiment, as_of=T0 + timedelta(days=1))
    assert in_flight(state, max_attempts=3) is busy


def test_the_previous_champion_stays_resident_while_it_drains():
    after = deployed(champion=NEW, previous_champion=OLD)
    assert resident_adapters(after, T0 + DRAIN / 2) == {NEW, OLD}
    assert resident_adapters(after, T0 + DRAIN) == {NEW}
    assert resident_adapters(ON_TRIAL, T0) == {OLD, NEW}
    assert resident_adapters(deployed(champion="base", candidate=NEW), T0) == {NEW}


def test_each_gated_attempt_has_an_experiment_of_its_own():
    assert experiment_id("r-abc", 1) != experiment_id("r-abc", 2)


# --- operators ------------------------------------------------------------------------------------------------------


def by(action, *, target="", experiment="none", second=1.0) -> e.OperatorActed:
    return e.OperatorActed(
        occurred_at=T0 + timedelta(seconds=second),
        experiment_id=experiment,
        action=action,
        operator="ann",
        reason="it is rude",
        target=target,
    )


def directed(deployment, run=None, experiment=None, *, max_attempts=3, **actions) -> Step:
    state = LoopState(deployment, run, experiment, T0 + timedelta(seconds=2), Interventions(**actions))
    return next_step(state, progress_timeout=timedelta(seconds=300), max_attempts=max_attempts)


def followed(step: Step) -> e.DeploymentChanged:
    assert isinstance(step, Deploy)
    return deployed(step.champion, candidate=step.candidate, order=step.order)


def test_a_stop_ends_its_own_experiment_and_no_later_one():
    stop = by("stop", experiment="x-1-1")
    assert directed(ON_TRIAL, GATED, OPEN, stop=stop) == EndExperiment(OPEN, "operator ann: it is rude")
    settled = replace(OPEN, verdict=verdict("INCONCLUSIVE"))
    done = directed(ON_TRIAL, GATED, settled, stop=stop)
    assert isinstance(done, Deploy)
    assert (done.champion, done.challenger, done.candidate) == (OLD, None, None)
    assert directed(deployed(), GATED, settled, stop=stop) == LookForWork()
    later = replace(OPEN, opened=OPENED.model_copy(update={"experiment_id": "x-2-1"}))
    assert not isinstance(directed(ON_TRIAL, GATED, later, stop=stop), EndExperiment)


def test_a_rollback_ends_the_experiment_loads_what_is_not_held_and_is_done_once():
    earlier = "a-00000000000000cc"
    order = by("rollback", target=earlier)
    assert directed(ON_TRIAL, GATED, OPEN, order=order) == EndExperiment(OPEN, "operator ann: it is rude")
    settled = replace(OPEN, verdict=verdict("INCONCLUSIVE"))
    loading = directed(ON_TRIAL, GATED, settled, order=order)
    assert isinstance(loading, Deploy)
    assert (loading.champion, loading.candidate, loading.order) == (OLD, earlier, None)
    back = directed(followed(loading), GATED, settled, order=order)
    assert isinstance(back, Deploy)
    assert (back.champion, back.candidate, back.previous_champion, back.order) == (earlier, None, OLD, order.event_id)
    assert back.cause == "operator ann: it is rude"
    assert directed(followed(back), GATED, settled, order=order) == LookForWork()


def test_a_rollback_to_the_base_needs_no_loading():
    back = directed(deployed(), order=by("rollback", target="base"))
    assert isinstance(back, Deploy)
    assert (back.champion, back.previous_champion) == ("base", OLD)


def test_the_challenger_is_promoted_by_hand_from_where_it_is_resident():
    order = by("promote", target=NEW)
    assert isinstance(directed(ON_TRIAL, GATED, OPEN, order=order), EndExperiment)
    done = directed(ON_TRIAL, GATED, replace(OPEN, verdict=verdict("INCONCLUSIVE")), order=order)
    assert isinstance(done, Deploy)
    assert (done.champion, done.previous_champion, done.order) == (NEW, OLD, order.event_id)


def test_an_order_comes_before_a_verdict_that_is_not_deployed_yet():
    promoted = replace(OPEN, verdict=verdict("PROMOTE"))
    order = by("rollback", target="base")
    back = directed(ON_TRIAL, GATED, promoted, order=order)
    assert isinstance(back, Deploy)
    assert back.champion == "base"
    assert directed(followed(back), GATED, promoted, order=order) == LookForWork()


def test_what_was_rolled_back_by_hand_does_not_come_back_by_itself():
    order = by("rollback", target="base")
    done = deployed("base", order=order.event_id)
    assert directed(done, GATED, order=order) == LookForWork()
    late = directed(deployed("base", order=order.event_id, candidate=NEW), GATED, order=order)
    assert isinstance(late, Deploy)
    assert (late.champion, late.candidate) == ("base", None)
    judged_later = replace(GATED, evaluated=PASSED.model_copy(update={"occurred_at": T0 + timedelta(seconds=2)}))
    assert directed(done.model_copy(update={"candidate": NEW}), judged_later, order=order) == OpenExperiment("r-1", "base", NEW)


def test_an_order_leaves_the_adapter_at_the_gate_where_it_is():
    at_the_gate = replace(RUN, trained=TRAINED)
    back = directed(deployed(candidate=NEW), at_the_gate, order=by("rollback", target="base"))
    assert isinstance(back, Deploy)
    assert (back.champion, back.candidate) == ("base", NEW)


def test_a_pause_holds_back_runs_experiments_and_shares_and_nothing_else():
    pause = by("pause")
    assert isinstance(directed(deployed(), paused=pause), Wait)
    assert isinstance(directed(deployed(candidate=NEW), GATED, paused=pause), Wait)
    assert directed(ON_TRIAL, GATED, OPEN, paused=pause) == JudgeExperiment(OPEN, may_advance=False)
    assert isinstance(directed(deployed(), replace(RUN, failed=FAILED), paused=pause), RetryRun)
    rolled_back = replace(OPEN, verdict=verdict("ROLL_BACK"))
    assert isinstance(directed(ON_TRIAL, GATED, rolled_back, paused=pause), Deploy)
    assert isinstance(directed(deployed(), paused=pause, order=by("rollback", target="base")), Deploy)


def test_a_pause_alone_is_no_work():
    state = LoopState(deployed(), None, None, T0, Interventions(paused=by("pause")))
    assert not in_flight(state, max_attempts=3)
    assert in_flight(replace(state, operators=Interventions(order=by("rollback", target="base"))), max_attempts=3)


@given(st.data())
def test_whatever_is_going_on_an_order_is_carried_out_and_then_all_is_quiet(data):
    deployment = data.draw(st.sampled_from([ON_TRIAL, deployed(), deployed(candidate=NEW), deployed("base"), deployed(NEW)]))
    run = data.draw(st.sampled_from([None, RUN, replace(RUN, trained=TRAINED), GATED, replace(RUN, trained=TRAINED, evaluated=REFUSED)]))
    # An experiment belongs to a run that the gate has passed.
    tried = [OPEN, *(replace(OPEN, verdict=verdict(name)) for name in ("PROMOTE", "ROLL_BACK"))] if run is None or run is GATED else []
    experiment = data.draw(st.sampled_from([None, *tried]))
    order = by("rollback", target=data.draw(st.sampled_from(["base", OLD, NEW, "a-00000000000000cc"])))
    paused = data.draw(st.sampled_from([None, by("pause")]))
    for _ in range(6):
        now_due = directed(deployment, run, experiment, order=order, paused=paused)
        match now_due:
            case EndExperiment():
                experiment = replace(OPEN, verdict=verdict("INCONCLUSIVE"))
            case Deploy():
                deployment = deployment_after(deployment, now_due, T0)
            case _:
                break
    assert isinstance(now_due, Wait | LookForWork)
    assert (deployment.champion, deployment.order, deployment.experiment) == (order.target, order.event_id, None)
