"""Which users the ledger counts for an experiment, on real DuckDB files."""

from pathlib import Path

import pytest

from csqa_loop import events as e
from csqa_loop.experiment import closed_users as experiments
from csqa_loop.experiment.state import latest_experiment
from csqa_loop.ledger import Ledger
from tests import events as make
from tests.ledgers import ledger_at


@pytest.fixture
def ledger(tmp_path: Path):
    opened = ledger_at(tmp_path / "ledger" / "ledger.duckdb")
    opened.open()
    yield opened
    opened.close()


def _experiment(**contract: object) -> e.ExperimentOpened:
    promised = e.ExperimentContract(
        primary="satisfaction",
        guardrails=(),
        alpha=0.05,
        window_seconds=20,
        burn_in_users=2,
        max_users=10,
        max_seconds=1e6,
        ramp=(1.0,),
        ramp_users=1,
    )
    return e.ExperimentOpened(
        occurred_at=make.at(0), experiment_id="x-1", run_id="r-1", champion="base", challenger="a-0123456789abcdef", salt="s", share=1.0,
        contract=promised.model_copy(update=contract),
    )  # fmt: skip


def test_users_count_once_when_their_window_closes(ledger: Ledger) -> None:
    shown = {"experiment": "x-1", "arm": "challenger"}
    ledger.take(
        make.batch(
            _experiment(),
            make.exposure(1, second=0, **shown), make.answer(1, second=1, **shown), make.thumb(1, "up", second=5),
            make.exposure(2, second=0, **shown), make.answer(2, second=1, **shown), make.thumb(2, "up", second=25),  # rated too late
            make.exposure(3, second=0, **shown),  # never answered
            make.exposure(4, second=30, **shown), make.answer(4, second=31, **shown),  # still open
            make.exposure(5, second=0, experiment="x-1", arm="control"), make.answer(5, second=1, handoff=True, experiment="x-1", arm="control"),
            make.thumb(5, "down", second=3, identity=50), make.thumb(5, "up", second=4, identity=51),  # changed their mind in time
        )
    )  # fmt: skip
    experiment = latest_experiment(ledger.connection)
    assert experiment is not None
    challenger, control = experiments.ClosedUsers().totals(ledger.connection, experiment, make.at(40), grace_seconds=2)
    assert (challenger.users, control.users) == (3, 1)
    assert (challenger.metrics["satisfaction"].num, challenger.metrics["satisfaction"].den, challenger.metrics["satisfaction"].users) == (
        1,
        1,
        1,
    )
    assert (challenger.metrics["error"].num, challenger.metrics["error"].den) == (1, 3)
    assert (control.metrics["satisfaction"].num, control.metrics["handoff"].num) == (1, 1)
    assert experiments.ClosedUsers().exposed(ledger.connection, "x-1") == (4, 1)


def test_a_user_seen_in_both_arms_is_left_out(ledger: Ledger) -> None:
    ledger.take(
        make.batch(
            _experiment(),
            make.exposure(1, experiment="x-1", arm="challenger"),
            make.exposure(2, experiment="x-1", arm="control", user=f"u-{1:016x}"),
        )
    )
    experiment = latest_experiment(ledger.connection)
    assert experiment is not None
    challenger, control = experiments.ClosedUsers().totals(ledger.connection, experiment, make.at(100), 2)
    assert (challenger.users, control.users) == (0, 0)
