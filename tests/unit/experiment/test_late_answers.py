"""Answers that come after their user's window: waited for, counted once, and the same at every later look."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from csqa_loop import events as e
from csqa_loop.experiment.closed_users import ClosedUsers
from csqa_loop.experiment.examiner import Examiner
from csqa_loop.experiment.offline.rules.simulation import contract_for
from csqa_loop.experiment.rules.comparison import ArmTotals
from csqa_loop.experiment.rules.experiments import Experiment
from csqa_loop.experiment.status import experiment_status
from csqa_loop.ledger import Ledger
from csqa_loop.ledger.service import LedgerService
from tests import events as make
from tests.ledgers import ledger_at

WINDOW, GRACE, ANSWER = 20.0, 2.0, 30.0
CONTRACT = contract_for(alpha=0.05, burn_in_users=2, max_users=1000).model_copy(update={"window_seconds": WINDOW})
EXPERIMENT = Experiment(
    e.ExperimentOpened(
        occurred_at=make.at(0), experiment_id="x-1", run_id="r-1", champion="base", challenger="a-0123456789abcdef", salt="s", share=1.0,
        contract=CONTRACT,
    ),
    1.0,
)  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = ledger_at(tmp_path / "ledger.duckdb")
    opened.open()
    yield opened
    opened.close()


@dataclass(frozen=True)
class Asked:
    """A question of a user, seconds until its answer; None: it never comes."""

    user: int
    second: float
    delay: float | None

    def facts(self, number: int) -> list[e.Event]:
        who = {"experiment": "x-1", "arm": "challenger" if self.user % 2 else "control", "user": f"u-{self.user:016x}"}
        shown: list[e.Event] = [make.exposure(number, second=self.second, **who)]
        if self.delay is not None:
            shown.append(make.answer(number, second=self.second + self.delay, latency_ms=1000 * self.delay, **who))
        return shown

    def counted(self, entered: float) -> tuple[bool, bool]:
        """(answered, and late) as docs/statistics.md says."""
        if self.delay is None or self.second + self.delay > max(entered + WINDOW, self.second + ANSWER) + GRACE:
            return False, False
        return True, self.second + self.delay > entered + WINDOW


def look(ledger: Ledger, second: float, kept: ClosedUsers | None = None) -> tuple[ArmTotals, ArmTotals]:
    return (kept or ClosedUsers()).totals(ledger.connection, EXPERIMENT, make.at(second), GRACE, ANSWER)


def errors(arm: ArmTotals) -> tuple[float, float]:
    return arm.metrics["error"].num, arm.metrics["error"].den


def test_an_answer_after_the_window_is_late_and_no_error(ledger: Ledger):
    ledger.take(make.batch(*Asked(1, 0, 25).facts(1), *Asked(3, 1, 2).facts(2)))
    (challenger, _) = look(ledger, 40)
    assert (challenger.users, challenger.late, errors(challenger)) == (2, 1, (0, 2))
    assert challenger.metrics["latency"].num == 27_000


def test_who_waits_for_an_answer_holds_up_those_behind_until_it_comes(ledger: Ledger):
    kept = ClosedUsers()
    ledger.take(make.batch(*Asked(1, 0, 1).facts(1), *Asked(1, 19, None).facts(2), *Asked(2, 0.5, 1).facts(3)))
    assert [arm.users for arm in look(ledger, 23, kept)] == [0, 0]
    who = {"experiment": "x-1", "arm": "challenger", "user": f"u-{1:016x}"}
    ledger.take(make.batch(make.answer(2, second=24, **who), first_offset=50))
    assert [(arm.users, arm.late, errors(arm)[0]) for arm in look(ledger, 25, kept)] == [(1, 1, 0), (1, 0, 0)]


def test_an_answer_that_never_comes_is_an_error_once_it_could_have_come(ledger: Ledger):
    kept = ClosedUsers()
    ledger.take(make.batch(*Asked(1, 0, 1).facts(1), *Asked(1, 19, None).facts(2), *Asked(2, 0.5, 1).facts(3)))
    assert [arm.users for arm in look(ledger, 19 + ANSWER + GRACE - 0.1, kept)] == [0, 0]
    assert [(arm.users, arm.late) for arm in look(ledger, 19 + ANSWER + GRACE, kept)] == [(1, 0), (1, 0)]
    assert errors(look(ledger, 60, kept)[0]) == (1, 2)
    # What comes after that changes nothing, in a process that reads everything anew neither.
    who = {"experiment": "x-1", "arm": "challenger", "user": f"u-{1:016x}"}
    ledger.take(make.batch(make.answer(2, second=70, **who), first_offset=50))
    assert errors(look(ledger, 90, kept)[0]) == errors(look(ledger, 90)[0]) == (1, 2)


def test_who_is_counted_and_comes_back_holds_up_nobody(ledger: Ledger):
    kept = ClosedUsers()
    ledger.take(make.batch(*Asked(1, 0, 1).facts(1)))
    assert look(ledger, 30, kept)[0].users == 1
    ledger.take(make.batch(*Asked(1, 40, None).facts(2), *Asked(3, 41, 1).facts(3), first_offset=50))
    assert look(ledger, 65, kept)[0].users == 2


@pytest.mark.parametrize("seed", range(3))
def test_every_look_sees_the_first_so_many_users_with_what_they_count_for_at_the_end(ledger: Ledger, seed: int):
    rng, asked = np.random.default_rng(seed), []
    for user in range(60):
        second = float(round(2 * user + rng.random(), 3))
        for later in (0.0, *rng.choice([3.0, 12.0, 19.0], size=int(rng.integers(0, 3)), replace=False)):
            delay = rng.choice([0.5, 6.0, 19.5, 28.0, 31.5, 40.0])
            asked.append(Asked(user, second + float(later), None if rng.random() < 0.1 else float(delay)))
    entered = {user: min(one.second for one in asked if one.user == user) for user in range(60)}
    facts = [fact for number, one in enumerate(asked) for fact in one.facts(number)]
    facts.sort(key=lambda fact: fact.occurred_at)
    kept, offset, seen = ClosedUsers(), 0, []
    for second in np.arange(5.0, 240.0, 9.5):
        arrived = [fact for fact in facts[offset:] if fact.occurred_at <= make.at(float(second))]
        ledger.take(make.batch(*arrived, first_offset=offset))
        offset += len(arrived)
        arms = look(ledger, float(second), kept)
        seen.append(sum(arm.users for arm in arms))
        for arm, odd in zip(arms, (1, 0), strict=True):
            first = [user for user in range(seen[-1]) if user % 2 == odd]
            assert arm.users == len(first)
            told = [one.counted(entered[one.user]) for one in asked if one.user in first]
            assert (errors(arm) if first else (0, 0)) == (sum(not answered for answered, _ in told), len(told))
            assert arm.late == len({one.user for one in asked if one.user in first and one.counted(entered[one.user])[1]})
        assert arms == look(ledger, float(second))
    assert seen == sorted(seen)
    assert seen[-1] == 60
    assert len(set(seen)) > 8


async def test_the_status_shows_who_was_late(ledger: Ledger):
    ledger.take(make.batch(*Asked(1, 0, 25).facts(1), *Asked(2, 1, 2).facts(2)))
    examiner = Examiner(LedgerService(ledger), GRACE, ANSWER)
    assert (await experiment_status(examiner, EXPERIMENT, settled=False)).late is None
    await examiner.look(EXPERIMENT, as_of=make.at(60), now=make.at(60))
    late = (await experiment_status(examiner, EXPERIMENT, settled=False)).late
    assert late is not None
    assert (late.challenger, late.control) == (1, 0)
