"""The one next step where an operator has spoken."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from csqa_loop import events as e
from csqa_loop.rollout.reconciler import deployment_after
from csqa_loop.rollout.rules.next_step import in_flight, next_step
from csqa_loop.rollout.rules.operators import Interventions
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.rollout.rules.steps import Deploy, EndExperiment, JudgeExperiment, LookForWork, OpenExperiment, RetryRun, Step, Wait
from tests.loop_states import FAILED, GATED, NEW, OLD, ON_TRIAL, OPEN, OPENED, PASSED, REFUSED, RUN, T0, TRAINED, deployed, verdict


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


def test_a_stop_counts_against_a_promotion_that_was_decided_at_the_same_moment():
    stop, won = by("stop", experiment="x-1-1"), replace(OPEN, verdict=verdict("PROMOTE"))
    done = directed(ON_TRIAL, GATED, won, stop=stop)
    assert done == Deploy(champion=OLD, cause="operator ann: it is rude")
    assert directed(followed(done), GATED, won, stop=stop) == LookForWork()
    promoted = directed(ON_TRIAL, GATED, won, stop=by("stop", experiment="x-0-1"))
    assert isinstance(promoted, Deploy)
    assert promoted.champion == NEW


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
    failed = FAILED.model_copy(update={"occurred_at": T0 - timedelta(minutes=1)})
    assert isinstance(directed(deployed(), replace(RUN, failed=failed), paused=pause), RetryRun)
    rolled_back = replace(OPEN, verdict=verdict("ROLL_BACK"))
    assert isinstance(directed(ON_TRIAL, GATED, rolled_back, paused=pause), Deploy)
    assert isinstance(directed(deployed(), paused=pause, order=by("rollback", target="base")), Deploy)


def test_in_a_pause_what_was_decided_before_gives_no_adapter_more_traffic_either():
    pause, promoted, raised = by("pause"), replace(OPEN, verdict=verdict("PROMOTE")), replace(OPEN, share=1.0)
    assert isinstance(directed(ON_TRIAL, GATED, promoted, paused=pause), Wait)
    assert isinstance(directed(ON_TRIAL, GATED, promoted), Deploy)
    assert directed(ON_TRIAL, GATED, raised, paused=pause) == JudgeExperiment(raised, may_advance=False)
    assert directed(deployed(candidate=NEW), GATED, OPEN, paused=pause) == JudgeExperiment(OPEN, may_advance=False)


def test_a_rollback_to_a_champion_that_still_drains_needs_no_loading():
    draining = deployed(NEW, previous_champion=OLD)
    back = directed(draining, order=by("rollback", target=OLD))
    assert isinstance(back, Deploy)
    assert (back.champion, back.previous_champion, back.retreat) == (OLD, NEW, True)


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
