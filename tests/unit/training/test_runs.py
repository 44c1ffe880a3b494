"""Where a run stands: by the events of its last attempt, and no others."""

from pathlib import Path

from csqa_loop import events as e
from csqa_loop.training.runs import latest_run
from tests import events as make
from tests.ledgers import ledger_at


def test_what_an_older_attempt_says_does_not_count(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path / "ledger.duckdb")
    ledger.open()
    common = {"run_id": "r-1", "reason": "enough", "champion": "base", "pair_ids": ("p",), "data_hash": "h"}
    first = e.TrainingRequested(occurred_at=make.at(0), attempt=1, **common)  # type: ignore[arg-type]
    second = e.TrainingRequested(occurred_at=make.at(600), attempt=2, **common)  # type: ignore[arg-type]
    late = e.AdapterTrained(
        occurred_at=make.at(900), run_id="r-1", attempt=1, adapter="a-" + "1" * 16, parent="base", recipe_hash="x", data_hash="h", pairs=1, seconds=1.0,
    )  # fmt: skip
    ledger.take(make.batch(first, second, late))
    run = latest_run(ledger.connection)
    ledger.close()
    assert run is not None
    assert (run.request.attempt, run.trained, run.last_sign) == (2, None, second.occurred_at)
