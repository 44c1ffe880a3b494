"""The one next step, for every state the ledger can be in."""

from dataclasses import replace
from datetime import timedelta

import pytest

from csqa_loop.experiment.rules.experiments import experiment_id
from csqa_loop.rollout.rules.next_step import in_flight
from csqa_loop.rollout.rules.residency import DRAIN, resident_adapters
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.rollout.rules.steps import Deploy, FailRun, JudgeExperiment, LookForWork, OpenExperiment, RetryRun, Wait
from csqa_loop.training.rules.attempts import Run
from tests.loop_states import (
    FAILED,
    GATED,
    NEW,
    OLD,
    ON_TRIAL,
    OPEN,
    PASSED,
    PROGRESS,
    REFUSED,
    REQUEST,
    RUN,
    T0,
    TRAINED,
    deployed,
    step,
    verdict,
)


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
    again = step(deployed(), run, later=30)
    assert isinstance(again, RetryRun)
    assert again.cause == "out of memory"
    assert step(deployed(), run, max_attempts=1) == LookForWork()
    cleared = step(deployed(candidate=NEW), run, max_attempts=1)
    assert isinstance(cleared, Deploy)
    assert (cleared.champion, cleared.candidate) == (OLD, None)


def test_a_failure_that_is_final_is_not_tried_again():
    assert step(deployed(), replace(RUN, failed=FAILED.model_copy(update={"final": True})), max_attempts=3) == LookForWork()


@pytest.mark.parametrize(("attempt", "pause"), [(1, 30), (2, 120), (3, 480), (9, 3600), (10_000, 3600)])
def test_the_pause_between_attempts_grows(attempt: int, pause: int):
    request = REQUEST.model_copy(update={"attempt": attempt})
    run = replace(RUN, request=request, failed=FAILED.model_copy(update={"attempt": attempt, "reason": "the disk is full"}))
    waiting = step(deployed(), run, later=pause - 1, max_attempts=attempt + 1)
    assert waiting == Wait(f"the pause before attempt {attempt + 1}: the disk is full")
    assert isinstance(step(deployed(), run, later=pause, max_attempts=attempt + 1), RetryRun)
    # No run may be claimed meanwhile.
    assert in_flight(LoopState(deployed(), run, None, T0), max_attempts=attempt + 1)


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
