"""What an operator may ask for, what is refused and in which words, and what the audit makes of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop import events as e
from csqa_loop.experiment.rules.experiments import Experiment
from csqa_loop.rollout.rules.audit import audit
from csqa_loop.rollout.rules.operators import Interventions
from csqa_loop.rollout.rules.orders import Order, OrderRefusedError, acted
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.rollout.rules.versions import adapter_history, champions

T0 = datetime(2026, 5, 4, tzinfo=UTC)
A, B, C, D = (f"a-{letter * 16}" for letter in "abcd")
CONTRACT = e.ExperimentContract(
    primary="satisfaction",
    guardrails=(),
    alpha=0.05,
    window_seconds=1,
    burn_in_users=10,
    max_users=99,
    max_seconds=99,
    ramp=(1.0,),
    ramp_users=5,
)


def trained(adapter: str, parent: str, day: int) -> e.AdapterTrained:
    return e.AdapterTrained(
        occurred_at=T0 + timedelta(days=day), run_id=f"r-{adapter[2]}", attempt=1, adapter=adapter, parent=parent, recipe_hash="x", data_hash="h",
        pairs=3, seconds=1,
    )  # fmt: skip


def judged(adapter: str, *, passed: bool = True) -> e.AdapterEvaluated:
    check = e.GateCheck(name="accuracy", passed=passed, champion=0.7, candidate=0.6)
    return e.AdapterEvaluated(
        occurred_at=T0, run_id=f"r-{adapter[2]}", attempt=1, adapter=adapter, champion="base", passed=passed, checks=(check,)
    )


def opened(adapter: str) -> e.ExperimentOpened:
    return e.ExperimentOpened(
        occurred_at=T0, experiment_id=f"x-{adapter[2]}", run_id=f"r-{adapter[2]}", champion="base", challenger=adapter, salt="s", share=1.0,
        contract=CONTRACT,
    )  # fmt: skip


def ended(adapter: str, verdict: str) -> e.VerdictReached:
    row = e.ArmEstimate(metric="satisfaction", arm="difference", users=60, estimate=-0.2, lower=-0.3, upper=-0.1)
    return e.VerdictReached(
        occurred_at=T0,
        experiment_id=f"x-{adapter[2]}",
        verdict=verdict,
        as_of=T0,
        stopped_by="upper bound of satisfaction",
        estimates=(row,),
    )


def deployment(revision: int, champion: str, **more: object) -> e.DeploymentChanged:
    return e.DeploymentChanged(occurred_at=T0, revision=revision, champion=champion, cause="PROMOTE: it is better", **more)


# A and B were promoted one after the other, C was refused by the gate, D was rolled back by its experiment; E has not been judged.
UNJUDGED = "a-" + "e" * 16
PAST = ["base", "base", A, A, B]
EVENTS = [
    trained(A, "base", 1), trained(B, A, 2), trained(C, B, 3), trained(D, B, 4), trained(UNJUDGED, B, 5),
    judged(A), judged(B), judged(C, passed=False), judged(D), opened(A), opened(B), opened(D), ended(B, "PROMOTE"), ended(D, "ROLL_BACK"),
    *(deployment(number, champion) for number, champion in enumerate(PAST, 1)),
]  # fmt: skip
HISTORY = adapter_history(EVENTS)
QUIET = LoopState(deployment(5, B), None, None, T0)


def ask(
    action: str, target: str = "", state: LoopState = QUIET, *, override: bool = False, past: list[str] | None = None
) -> e.OperatorActed:
    order = Order(action, "ann", "why not", target, override=override)
    return acted(order, state, HISTORY, PAST if past is None else past, event_id=UUID(int=7), now=T0)


def after(*actions: e.OperatorActed, **more: object) -> LoopState:
    latest = {{"resume": "pause", "promote": "order", "rollback": "order"}.get(one.action, one.action): one for one in actions}
    pause = latest.get("pause")
    operators = Interventions(
        paused=pause if pause and pause.action == "pause" else None, stop=latest.get("stop"), order=latest.get("order"), last_at=T0
    )
    return replace(QUIET, operators=operators, **more)


def test_versions_count_in_the_order_of_training() -> None:
    assert [(record.version, record.adapter, record.state) for record in HISTORY] == [
        ("v0", "base", "resident"), ("v1.0", A, "previous"), ("v1.1", B, "champion"), ("v1.2", C, "retired"), ("v1.3", D, "retired"),
        ("v1.4", UNJUDGED, "retired"),
    ]  # fmt: skip
    assert [record.served for record in HISTORY] == [True, True, True, False, False, False]


def test_an_adapter_that_is_trained_again_keeps_its_version() -> None:
    assert [record.adapter for record in adapter_history([*EVENTS, trained(A, "base", 9)])] == [record.adapter for record in HISTORY]


def test_rolling_back_goes_back_step_by_step() -> None:
    assert ask("rollback").target == A
    assert ask("rollback", past=[*PAST, A], state=replace(QUIET, deployment=deployment(6, A))).target == "base"


@given(st.lists(st.sampled_from(["base", A, B, C]), min_size=1))
def test_the_way_to_the_champion_ends_with_it_and_never_turns(past: list[str]) -> None:
    way = champions(past)
    assert way[-1] == past[-1]
    assert way[0] == past[0]
    assert len(set(way)) == len(way)


def test_names_and_versions_are_the_same() -> None:
    assert ask("rollback", "v1.0").target == ask("rollback", A).target == A
    assert ask("rollback", "v0").target == ask("rollback", "base").target == "base"


def test_a_served_adapter_may_be_promoted_again() -> None:
    event = ask("promote", A)
    assert (event.action, event.target, event.overridden, event.operator, event.reason) == ("promote", A, "", "ann", "why not")


@pytest.mark.parametrize(
    ("adapter", "words"),
    [
        (C, "the gate refused a-cccccccccccccccc (accuracy: champion 0.7, candidate 0.6)"),
        (D, "experiment x-d rolled a-dddddddddddddddd back (upper bound of satisfaction)"),
    ],
)
def test_what_speaks_against_an_adapter_must_be_overridden_and_is_recorded(adapter: str, words: str) -> None:
    with pytest.raises(OrderRefusedError) as refused:
        ask("promote", adapter)
    assert str(refused.value) == f"{words}; promote it all the same with --override, or choose another"
    assert ask("promote", adapter, override=True).overridden == words
    with pytest.raises(OrderRefusedError, match="never was champion"):
        ask("rollback", adapter)


PAUSED = after(ask("pause"))
ON_TRIAL = replace(QUIET, experiment=Experiment(opened(D), 1.0))


@pytest.mark.parametrize(
    ("action", "target", "state", "words"),
    [
        ("promote", B, QUIET, "is the champion already"),
        ("promote", "v1.1", QUIET, "is the champion already"),
        ("promote", "base", QUIET, "csqa rollback --to base"),
        ("promote", UNJUDGED, QUIET, "was never evaluated"),
        ("promote", "a-1", QUIET, "a-1 is no adapter that was ever trained here"),
        ("promote", A, after(ask("promote", A)), "or on its way to be"),
        ("promote", A, replace(QUIET, deployment=None), "has not deployed anything yet"),
        ("rollback", B, QUIET, "is the champion already"),
        ("rollback", UNJUDGED, QUIET, "was never evaluated"),
        ("rollback", "", replace(QUIET, deployment=deployment(1, "base")), "no champion is known from before base"),
        ("pause", "", PAUSED, "paused already, by ann since 2026-05-04 00:00 UTC: why not"),
        ("resume", "", QUIET, "not paused"),
        ("stop", "", QUIET, "no experiment is open"),
        ("stop", "", replace(QUIET, experiment=Experiment(opened(D), 1.0, ended(D, "ROLL_BACK"))), "x-d ended with ROLL_BACK"),
        ("stop", "x-a", ON_TRIAL, "x-a is not the open experiment; that is x-d"),
        ("stop", "", replace(ON_TRIAL, operators=Interventions(stop=ask("stop", state=ON_TRIAL))), "x-d is being stopped already, by ann"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(action: str, target: str, state: LoopState, words: str) -> None:
    with pytest.raises(OrderRefusedError) as refused:
        ask(action, target, state)
    assert words in str(refused.value)


def test_an_order_that_is_on_its_way_can_be_taken_back() -> None:
    assert ask("rollback", state=after(ask("promote", A)), past=["base", B]).target == B
    assert ask("rollback", B, after(ask("promote", A))).target == B


def test_an_action_names_the_open_experiment_and_is_younger_than_the_last() -> None:
    assert ask("stop", "x-d", ON_TRIAL).experiment_id == "x-d"
    assert ask("rollback", "", ON_TRIAL).experiment_id == "x-d"
    assert ask("pause").experiment_id == "none"
    assert ask("resume", state=PAUSED).occurred_at > ask("pause").occurred_at


def test_the_audit_tells_who_why_and_the_numbers() -> None:
    order = ask("promote", C, override=True)
    events = [
        order, deployment(6, C).model_copy(update={"cause": "operator ann: why not", "order": order.event_id}), ended(D, "ROLL_BACK"),
        judged(C, passed=False), opened(D), deployment(5, B),
    ]  # fmt: skip
    told = audit(events, [order])
    assert [(entry.what, entry.about, entry.who) for entry in told] == [
        ("promote", C, "ann"), ("deployed", C, "ann"), ("verdict ROLL_BACK", "x-d", "loop"), ("gate refused", C, "loop"),
        ("experiment opened", "x-d", "loop"), ("deployed", B, "loop"),
    ]  # fmt: skip
    assert "the gate refused" in told[0].numbers["overridden"]
    assert told[2].numbers["estimates"][0]["upper"] == -0.1
    assert told[3].numbers["checks"][0]["candidate"] == 0.6
    assert told[3].why == "failed: accuracy"


ORDER = ask("promote", C, override=True)
STOP = ask("stop", state=replace(QUIET, experiment=Experiment(opened(D), 1.0))).model_copy(update={"event_id": UUID(int=8)})
BY_ANN = "operator ann: why not"
OTHER_ORDER = UUID(int=9)


def caused(cause: str, **more: object) -> e.DeploymentChanged:
    return deployment(6, C, **more).model_copy(update={"cause": cause})


def ended_by(cause: str, adapter: str = D) -> e.VerdictReached:
    return ended(adapter, "INCONCLUSIVE").model_copy(update={"stopped_by": cause})


@pytest.mark.parametrize(
    ("event", "who"),
    [
        (caused(BY_ANN, order=ORDER.event_id), "ann"),
        (caused(f"{BY_ANN} ({C} is made resident first)", candidate=C), "ann"),
        (caused(f"{BY_ANN} ({C} is made resident first)", candidate=C, order=OTHER_ORDER), "ann"),
        (caused(BY_ANN), "ann"),  # from before deployments named their order
        (ended_by(BY_ANN), "ann"),
        (caused(BY_ANN, order=OTHER_ORDER), "loop"),
        (caused("run r-c trained it", order=ORDER.event_id), "loop"),
        (caused(f"given up: {BY_ANN}; {C} cannot be served", order=ORDER.event_id), "loop"),
        (caused(f"{BY_ANN}, she says", order=ORDER.event_id), "loop"),
        (caused(f"{BY_ANN}, she says"), "loop"),
        (caused(f"{BY_ANN} ({C} is made resident first)", candidate=A), "loop"),
        (caused(f"{BY_ANN} ({A} is made resident first)", candidate=A), "loop"),
        (caused("operator ann:"), "loop"),
        (ended_by(f"{BY_ANN}, she says"), "loop"),
        (ended_by("upper bound of satisfaction"), "loop"),
    ],
)
def test_what_came_of_an_action_is_told_by_ids_and_not_by_how_a_cause_begins(event: e.Event, who: str) -> None:
    assert [entry.who for entry in audit([event], [ORDER, STOP])] == [who]


def test_another_experiments_end_is_not_the_stops() -> None:
    assert [entry.who for entry in audit([ended_by(BY_ANN), ended_by(BY_ANN, A)], [STOP])] == ["ann", "loop"]
