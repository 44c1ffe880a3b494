"""What a log that came back empty must be told again."""

from pathlib import Path

import pytest

from csqa_loop import events as e
from csqa_loop.ledger import Ledger
from csqa_loop.ledger.bookkeeping import next_offsets
from csqa_loop.rollout.epochs import unpublished_epoch
from tests import events as make
from tests.ledgers import ledger_at


@pytest.fixture
def ledger(tmp_path: Path):
    opened = ledger_at(tmp_path / "ledger" / "ledger.duckdb")
    opened.open()
    yield opened
    opened.close()


def test_a_new_epoch_forgets_offsets_and_keeps_facts(ledger: Ledger) -> None:
    ledger.take(
        make.batch(e.PolicyPublished(occurred_at=make.at(0), policy_id="returns", version=make.VERSION, title="Returns", text="14 days."))
    )
    deployed = e.DeploymentChanged(occurred_at=make.at(1), revision=1, champion="base")
    ledger.take(make.batch(deployed))
    epoch = ledger.begin_epoch([("csqa.policies", 0)], "the broker came back empty")
    assert ("csqa.policies", 0) not in next_offsets(ledger.connection)
    missing = unpublished_epoch(ledger.connection)
    assert missing is not None
    assert [event.type for event, _ in missing.facts] == ["PolicyPublished", "DeploymentChanged"]
    assert ledger.take(make.batch(*(event for event, _ in missing.facts))) == 0
    ledger.mark_republished(epoch, missing.asked)
    assert unpublished_epoch(ledger.connection) is None
