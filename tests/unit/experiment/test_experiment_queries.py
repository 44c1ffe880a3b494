"""What the ledger counts of an experiment."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from csqa_loop import events as e
from csqa_loop.experiment import closed_users as experiments
from csqa_loop.experiment.offline.rules.simulation import contract_for
from csqa_loop.experiment.rules.comparison import ArmTotals
from csqa_loop.experiment.rules.error_control import PastExperiment
from csqa_loop.experiment.rules.verdict import analyse
from csqa_loop.experiment.state import latest_experiment
from csqa_loop.ledger import Ledger
from csqa_loop.settings.metrics import COUNTS, SHIPPED
from tests import events as make
from tests.ledgers import ledger_at

CHALLENGER = {"experiment": "x-1", "arm": "challenger"}
CONTROL = {"experiment": "x-1", "arm": "control"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = ledger_at(tmp_path / "ledger.duckdb")
    opened.open()
    yield opened
    opened.close()


def opening(*metrics: e.MetricContract, name: str = "x-1", second: float = 0, alpha: float = 0.05) -> e.ExperimentOpened:
    contract = contract_for(alpha=alpha, burn_in_users=2, max_users=10).model_copy(update={"window_seconds": 20, "metrics": metrics})
    return e.ExperimentOpened(
        event_id=make.event_id(90_000 + int(second)), occurred_at=make.at(second), experiment_id=name, run_id="r-1", champion="base",
        challenger="a-0123456789abcdef", salt="s", share=1.0, contract=contract,
    )  # fmt: skip


def verdict(name: str, said: str, second: float) -> e.VerdictReached:
    return e.VerdictReached(
        event_id=make.event_id(91_000 + int(second)), occurred_at=make.at(second), experiment_id=name, verdict=said, as_of=make.at(second),
        stopped_by="", estimates=(),
    )  # fmt: skip


def totals(ledger: Ledger, second: float = 100) -> tuple[ArmTotals, ArmTotals]:
    experiment = latest_experiment(ledger.connection)
    assert experiment is not None
    return experiments.ClosedUsers().totals(ledger.connection, experiment, make.at(second), 2)


def ratio(arm: ArmTotals, metric: str) -> tuple[float, float]:
    return arm.metrics[metric].num, arm.metrics[metric].den


def test_every_shipped_metric_is_counted(ledger: Ledger):
    ledger.take(
        make.batch(
            opening(),
            make.exposure(1, **CHALLENGER), make.answer(1, second=1, answer="x" * 10, latency_ms=100.0, **CHALLENGER), make.thumb(1, "up", second=3),
            make.exposure(2, user=f"u-{1:016x}", conversation_id="c1", second=5, **CHALLENGER),
            make.answer(2, second=6, user=f"u-{1:016x}", conversation_id="c1", answer="x" * 30, latency_ms=300.0, covered=False, handoff=True, **CHALLENGER),
            make.exposure(3, user=f"u-{1:016x}", conversation_id="c3", second=7, **CHALLENGER),
        )
    )  # fmt: skip
    challenger, _ = totals(ledger)
    assert ratio(challenger, "satisfaction") == (1, 1)
    assert ratio(challenger, "rating") == (1, 2)
    assert ratio(challenger, "handoff") == (1, 2)
    assert ratio(challenger, "unanswered") == (1, 2)
    assert ratio(challenger, "error") == (1, 3)
    assert ratio(challenger, "latency") == (400, 2)
    assert ratio(challenger, "answer_length") == (40, 2)
    assert ratio(challenger, "turns") == (3, 2)
    assert ratio(challenger, "resolution") == (0, 2)
    assert challenger.quantiles["latency_p95"].value == 200.0


def test_every_count_of_the_vocabulary_can_be_asked_for(ledger: Ledger):
    declared = [e.MetricContract(name=name, numerator=name, denominator="users", higher_is_better=True, kind="mean") for name in COUNTS]
    ledger.take(make.batch(opening(*declared), make.exposure(1, **CHALLENGER), make.answer(1, second=1, **CHALLENGER)))
    challenger, _ = totals(ledger)
    assert set(challenger.metrics) == set(COUNTS)
    assert ratio(challenger, "users") == (1, 1)


def test_a_count_that_nobody_records_any_more_has_no_data(ledger: Ledger):
    old = e.MetricContract(name="smiles", numerator="smiles", denominator="answers", higher_is_better=True, kind="ratio")
    ledger.take(make.batch(opening(old, SHIPPED["error"]), make.exposure(1, **CHALLENGER)))
    assert set(totals(ledger)[0].metrics) == {"error"}


@pytest.mark.parametrize(
    ("changes", "resolved"),
    [
        ({}, 2),
        ({"thumb": "down"}, 1),
        ({"handoff": True}, 1),
        ({"question": "How  do I pay?"}, 2),
        ({"question": "where IS my parcel? "}, 0),
    ],
)
def test_a_conversation_is_resolved_when_nothing_more_was_needed(ledger: Ledger, changes: dict, resolved: int):
    first, second = ({"user": "u-0000000000000001", "conversation_id": name, **CHALLENGER} for name in ("ca", "cb"))
    question, handoff = changes.get("question", "How do I pay?"), changes.get("handoff", False)
    facts = [
        opening(), make.exposure(1, **first), make.answer(1, second=1, question="Where is my parcel?", **first),
        make.exposure(2, second=5, **second), make.answer(2, second=6, question=question, handoff=handoff, **second),
    ]  # fmt: skip
    if "thumb" in changes:
        facts.append(make.thumb(2, changes["thumb"], second=8))
    ledger.take(make.batch(*facts))
    assert ratio(totals(ledger)[0], "resolution") == (resolved, 2)


def test_an_exposure_without_answer_is_an_error_of_its_arm(ledger: Ledger):
    ledger.take(make.batch(opening(), make.exposure(1, **CHALLENGER), make.exposure(2, **CONTROL), make.answer(2, second=1, **CONTROL)))
    challenger, control = totals(ledger)
    assert (ratio(challenger, "error"), ratio(control, "error")) == ((1, 1), (0, 1))
    assert "latency" not in challenger.metrics


def test_an_exposure_told_twice_counts_once(ledger: Ledger):
    again = make.exposure(1, second=2, **CHALLENGER).model_copy(update={"event_id": make.event_id(77)})
    ledger.take(make.batch(opening(), make.exposure(1, **CHALLENGER), make.answer(1, second=1, **CHALLENGER), again))
    challenger, _ = totals(ledger)
    assert (challenger.users, ratio(challenger, "error"), ratio(challenger, "turns")) == (1, (0, 1), (1, 1))
    assert experiments.ClosedUsers().exposed(ledger.connection, "x-1") == (1, 0)


def test_users_seen_in_both_arms_are_counted_and_left_out(ledger: Ledger):
    ledger.take(
        make.batch(
            opening(), make.exposure(1, **CHALLENGER), make.exposure(2, second=1, user=f"u-{1:016x}", **CONTROL), make.exposure(3, **CONTROL)
        )
    )  # fmt: skip
    challenger, control = totals(ledger)
    assert (challenger.users, control.users) == (0, 1)
    assert experiments.ClosedUsers().in_both_arms(ledger.connection, "x-1") == 1


def test_the_sample_ratio_is_tested_on_exposures_not_on_closed_users(ledger: Ledger):
    facts = [opening(), *(make.exposure(number, second=90, **(CHALLENGER if number < 180 else CONTROL)) for number in range(200))]
    ledger.take(make.batch(*facts))
    experiment = latest_experiment(ledger.connection)
    assert experiment is not None
    challenger, control = totals(ledger)
    assert (challenger.users, control.users) == (0, 0)
    exposed = experiments.ClosedUsers().exposed(ledger.connection, "x-1")
    assert analyse(experiment.opened.contract, challenger, control, exposed, 0.0).verdict == "INVALID"


def test_the_history_of_experiments_is_their_opening_order(ledger: Ledger):
    assert experiments.past_experiments(ledger.connection) == []
    ledger.take(
        make.batch(
            opening(name="x-b", second=1), verdict("x-b", "PROMOTE", 2), opening(name="x-a", second=3, alpha=0.02), verdict("x-a", "ROLL_BACK", 4),
            opening(name="x-c", second=5),
        )
    )  # fmt: skip
    assert experiments.past_experiments(ledger.connection) == [
        PastExperiment(0.05, promoted=True), PastExperiment(0.02, promoted=False), PastExperiment(0.05, promoted=False),
    ]  # fmt: skip


# --- from look to look ------------------------------------------------------------------------------------------------


def visit(number: int, second: float, arm: str, user: int | None = None) -> list[e.Event]:
    who = {"user": f"u-{number if user is None else user:016x}", "experiment": "x-1", "arm": arm}
    return [make.exposure(number, second=second, **who), make.answer(number, second=second + 1, latency_ms=10.0 * number, **who)]


def test_many_looks_say_what_one_says(ledger: Ledger):
    facts: list[e.Event] = [opening()]
    for number in range(60):
        # Every third user comes back, within the window or long after it.
        facts += visit(number, 2 * number, "challenger" if number % 2 else "control")
        if number % 3 == 0:
            facts += visit(100 + number, 2 * number + (5 if number % 2 else 50), "challenger" if number % 2 else "control", user=number)
        facts.append(make.thumb(number, "up" if number % 5 else "down", second=2 * number + 3))
    ledger.take(make.batch(*sorted(facts, key=lambda fact: fact.occurred_at)))
    experiment = latest_experiment(ledger.connection)
    assert experiment is not None
    kept = experiments.ClosedUsers()
    for second in (10, 22.5, 60, 60, 91, 200):
        looked = kept.totals(ledger.connection, experiment, make.at(second), 2)
        assert looked == experiments.ClosedUsers().totals(ledger.connection, experiment, make.at(second), 2)
        assert kept.exposed(ledger.connection, "x-1") == experiments.ClosedUsers().exposed(ledger.connection, "x-1") == (30, 30)
    assert looked[0].users == looked[1].users == 30


def test_a_look_back_in_time_begins_anew(ledger: Ledger):
    ledger.take(make.batch(opening(), *visit(1, 0, "challenger"), *visit(2, 50, "challenger")))
    experiment = latest_experiment(ledger.connection)
    assert experiment is not None
    kept = experiments.ClosedUsers()
    assert [kept.totals(ledger.connection, experiment, make.at(second), 2)[0].users for second in (100, 30, 100)] == [2, 1, 2]


def test_whoever_turns_up_in_the_other_arm_later_counts_nowhere_from_then_on(ledger: Ledger):
    ledger.take(make.batch(opening(), *visit(1, 0, "challenger"), *visit(2, 0, "control")))
    experiment = latest_experiment(ledger.connection)
    assert experiment is not None
    kept = experiments.ClosedUsers()
    assert [side.users for side in kept.totals(ledger.connection, experiment, make.at(30), 2)] == [1, 1]
    ledger.take(make.batch(*visit(3, 40, "control", user=1), first_offset=100))
    assert kept.in_both_arms(ledger.connection, "x-1") == 1
    assert [side.users for side in kept.totals(ledger.connection, experiment, make.at(90), 2)] == [0, 1]
    assert kept.exposed(ledger.connection, "x-1") == (1, 1)
    assert kept.in_both_arms(ledger.connection, "x-1") == 1


def test_another_experiment_begins_anew(ledger: Ledger):
    ledger.take(make.batch(opening(), *visit(1, 0, "challenger"), opening(name="x-2", second=60)))
    kept, former = experiments.ClosedUsers(), latest_experiment(ledger.connection, "x-1")
    present = latest_experiment(ledger.connection)
    assert former is not None
    assert present is not None
    assert kept.totals(ledger.connection, former, make.at(100), 2)[0].users == 1
    assert kept.totals(ledger.connection, present, make.at(100), 2)[0].users == 0
    assert kept.exposed(ledger.connection, "x-1") == (1, 0)


def test_asking_for_another_experiment_forgets_nothing_of_the_present_one(ledger: Ledger):
    other = {"experiment": "x-2", "arm": "control"}
    ledger.take(make.batch(opening(), *visit(1, 0, "challenger"), *visit(2, 0, "control"), make.exposure(3, second=1, **other)))
    experiment = latest_experiment(ledger.connection)
    assert experiment is not None
    kept = experiments.ClosedUsers()
    kept.totals(ledger.connection, experiment, make.at(30), 2)
    assert kept.exposed(ledger.connection, "x-2") == (0, 1)
    # What is closed is not read again: a fact of the past that comes now does not count before the next start.
    ledger.take(make.batch(*visit(4, 2, "control"), first_offset=100))
    assert kept.exposed(ledger.connection, "x-1") == (1, 1)


def test_users_in_both_arms_are_counted_once_however_their_windows_close(ledger: Ledger):
    facts = [opening(), *visit(1, 0, "challenger"), *visit(2, 1, "control", user=1), *visit(3, 0, "challenger")]
    ledger.take(make.batch(*facts))
    experiment = latest_experiment(ledger.connection)
    assert experiment is not None
    kept, seen = experiments.ClosedUsers(), []
    for second in (10, 30, 90):
        kept.totals(ledger.connection, experiment, make.at(second), 2)
        seen.append((kept.exposed(ledger.connection, "x-1"), kept.in_both_arms(ledger.connection, "x-1")))
        if second == 30:
            ledger.take(make.batch(*visit(4, 40, "control", user=3), first_offset=100))
    assert seen == [((2, 0), 1), ((2, 0), 1), ((2, 0), 2)]
