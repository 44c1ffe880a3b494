"""A gateway whose clock is an hour off puts its users into no other window."""

from pathlib import Path

import pytest

from csqa_loop import events as e
from csqa_loop.experiment.closed_users import ClosedUsers
from csqa_loop.experiment.rules.comparison import ArmTotals
from csqa_loop.experiment.rules.experiments import Experiment
from csqa_loop.ledger.recorder import sort_out
from tests import events as make
from tests.boards import CONTRACT
from tests.ledgers import ledger_at
from tests.logs import Log

OPENED = e.ExperimentOpened(
    occurred_at=make.at(0), experiment_id="x", run_id="r", champion="base", challenger="a-0123456789abcdef", salt="s", share=1.0,
    contract=CONTRACT.model_copy(update={"window_seconds": 600}),
)  # fmt: skip


def totals(folder: Path, off: float, until: float) -> tuple[ArmTotals, ArmTotals]:
    log = Log()
    for number in range(6):
        second, arm = 100.0 * number, {"experiment": "x", "arm": "challenger" if number % 2 else "control"}
        log.write(make.exposure(number, second=second + off, **arm), second)
        log.write(make.answer(number, second=second + 2 + off, **arm), second + 2)
        log.write(make.thumb(number, "down", second=second + 5 + off), second + 5)
        log.write(make.thumb(number, "up", second=second + 500 + off, identity=50 + number), second + 500)
        log.write(make.thumb(number, "down", second=second + 601 + off, identity=70 + number), second + 601)  # too late
    ledger = ledger_at(folder / "ledger.duckdb")
    ledger.open()
    ledger.take(sort_out(log.records, lambda event: event))
    found = ClosedUsers().totals(ledger.connection, Experiment(OPENED, 1.0, None), make.at(until), grace_seconds=0)
    ledger.close()
    return found


@pytest.mark.parametrize("off", [3600.0, -3600.0])
@pytest.mark.parametrize(("until", "users"), [(599.0, 0), (850.0, 3), (1200.0, 6)])
def test_windows_close_by_the_time_of_the_log(tmp_path: Path, off: float, until: float, users: int) -> None:
    right, wrong = totals(tmp_path / "right", 0.0, until), totals(tmp_path / "wrong", off, until)
    assert wrong == right
    assert sum(arm.users for arm in right) == users
    assert sum(arm.metrics["satisfaction"].num for arm in right if arm.metrics) == users
