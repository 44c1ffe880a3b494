"""What `csqa experiment show` and the published view say of the same experiment: the same, to the last digit."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from csqa_loop import events as e
from csqa_loop.analytics.copy import LiveEstimate, publish_analytics
from csqa_loop.experiment.examiner import Examiner
from csqa_loop.experiment.offline.rules.simulation import contract_for
from csqa_loop.experiment.state import latest_experiment
from csqa_loop.experiment.status import experiment_status
from csqa_loop.ledger import Ledger
from csqa_loop.ledger.service import LedgerService
from tests import events as make
from tests.ledgers import ledger_at

COLUMNS = ("metric", "arm", "users", "numerator", "denominator", "estimate", "lower", "upper")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = ledger_at(tmp_path / "ledger.duckdb")
    opened.open()
    yield opened
    opened.close()


def facts() -> list[e.Event]:
    contract = contract_for(alpha=0.05, burn_in_users=10, max_users=30, handoff_margin=0.3).model_copy(update={"window_seconds": 20})
    found: list[e.Event] = [
        e.ExperimentOpened(
            event_id=make.event_id(9000), occurred_at=make.at(0), experiment_id="x-1", run_id="r-1", champion="base",
            challenger="a-0123456789abcdef", salt="s", share=1.0, contract=contract,
        )
    ]  # fmt: skip
    for number in range(60):
        shown = {"experiment": "x-1", "arm": "challenger" if number % 2 else "control"}
        found += [
            make.exposure(number, **shown),
            make.answer(number, second=1, latency_ms=100 / 7 * number, handoff=number % 11 == 0, **shown),
        ]
        found.append(make.thumb(number, "up" if number % 3 else "down", second=3))
    # Two users who come back in the other arm.
    found += [make.exposure(60 + n, second=5, user=f"u-{n:016x}", experiment="x-1", arm="challenger") for n in (0, 2)]
    return found


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
async def test_the_console_and_the_view_agree(ledger: Ledger, tmp_path: Path, closed: bool):
    ledger.take(make.batch(*facts()))
    service = LedgerService(ledger)
    examiner, as_of = Examiner(service, 2.0, 0.0), make.at(100)
    experiment = latest_experiment(ledger.connection, "x-1")
    assert experiment is not None
    await examiner.look(experiment, as_of=make.at(100), now=make.at(100))
    if closed:
        verdict = e.VerdictReached(
            event_id=make.event_id(9001), occurred_at=make.at(101), experiment_id="x-1", verdict="INCONCLUSIVE", as_of=as_of, stopped_by="",
            estimates=examiner.seen(experiment)[3],
        )  # fmt: skip
        ledger.take(make.batch(verdict, first_offset=1000))
        experiment = latest_experiment(ledger.connection, "x-1")
        assert experiment is not None
    verdict_said, _, seen_at, estimates = examiner.seen(experiment)
    assert seen_at is not None
    live = [LiveEstimate("x-1", seen_at, verdict_said, estimate) for estimate in estimates]
    target = tmp_path / "analytics.duckdb"
    publish_analytics(ledger.reader(), target, make.at(200), live)
    told = (await experiment_status(examiner, experiment, settled=True)).model_dump(mode="json")
    with duckdb.connect(str(target), read_only=True) as analytics:
        analytics.execute("SET TimeZone = 'UTC'")
        rows = analytics.execute(f"SELECT {', '.join(COLUMNS)} FROM experiment_results WHERE experiment_id = 'x-1'").fetchall()
        kept = analytics.execute("SELECT DISTINCT verdict, as_of FROM experiment_results").fetchall()
        exposed = analytics.execute("SELECT exposed_challenger, exposed_control, users, estimate, lower, upper FROM experiments").fetchone()
    assert len(rows) > 20
    assert rows == [tuple(row[column] for column in COLUMNS) for row in told["estimates"]]
    assert [(said, moment.isoformat()) for said, moment in kept] == [(told["verdict"], told["as_of"])]
    assert told["exposed"] == {"challenger": 30, "control": 30}
    assert told["excluded"] == {"seen_in_both_arms": 2}
    assert exposed is not None
    assert exposed[:2] == (30, 30)
    assert exposed[2:] == (sum(told["n"].values()), told["estimate"], told["lower"], told["upper"])
