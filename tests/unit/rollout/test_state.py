"""What the next decision rests on is of one moment."""

from pathlib import Path

import duckdb
import pytest

from csqa_loop import events as e
from csqa_loop.ledger import Ledger
from csqa_loop.rollout.state import loop_state
from tests import events as make
from tests.ledgers import ledger_at


@pytest.fixture
def ledger(tmp_path: Path):
    opened = ledger_at(tmp_path / "ledger" / "ledger.duckdb")
    opened.open()
    yield opened
    opened.close()


def test_a_state_is_of_one_moment(ledger: Ledger) -> None:
    """A batch that lands between two questions of one state is in none of its answers."""
    ledger.take(make.batch(e.DeploymentChanged(occurred_at=make.at(1), revision=1, champion="base")))
    late = [
        e.TrainingRequested(occurred_at=make.at(9), run_id="r", attempt=1, reason="x", champion="base", pair_ids=(), data_hash="x"),
        e.DeploymentChanged(occurred_at=make.at(9), revision=2, champion="base"),
    ]

    class Interrupted:
        """A reader; the writer takes a batch after its first question."""

        def __init__(self) -> None:
            self.cursor = ledger.reader()

        def execute(self, *asked: object) -> duckdb.DuckDBPyConnection:
            found = self.cursor.execute(*asked)
            if late:
                ledger.take(make.batch(*late))
                late.clear()
            return found

        def __getattr__(self, name: str) -> object:
            return getattr(self.cursor, name)

    state = loop_state(Interrupted(), make.at(20))
    assert (state.deployment.revision, state.run) == (1, None)
    after = loop_state(ledger.reader(), make.at(20))
    assert (after.deployment.revision, after.run.request.run_id) == (2, "r")
