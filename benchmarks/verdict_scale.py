"""How long does a verdict take over ten million exposures? The ledger's query and the rules, on a file of that size.

The first look of a process reads the whole experiment; every other one what came since. The goal is for those; the first one is a figure of
its own, without a goal, and their baseline.
CSQA_TEST_EXPOSURES changes the number. Writes var/bench/verdict_scale.json; exit status 1 when the goal is missed.
"""

import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
from _bench import figure, report

from csqa_loop import events as e
from csqa_loop.evidence.derivation import deriving
from csqa_loop.evidence.rules.pairs import PairPolicy
from csqa_loop.experiment import closed_users as experiments
from csqa_loop.experiment.offline.rules.simulation import contract_for
from csqa_loop.experiment.rules.experiments import Experiment
from csqa_loop.experiment.rules.verdict import analyse
from csqa_loop.ledger import Ledger

SEED = 20_261
EXPOSURES = int(os.environ.get("CSQA_TEST_EXPOSURES", "10000000"))
A_USER = 5
"""Questions a user."""
OPENED = datetime(2026, 1, 5, tzinfo=UTC)
LENGTH = timedelta(days=20)
BEAT = timedelta(seconds=60)
LOOKS = 8


def opened() -> e.ExperimentOpened:
    contract = contract_for(alpha=0.05, burn_in_users=200, max_users=2**31 - 1).model_copy(
        update={"window_seconds": 86_400.0, "max_seconds": 1e9}
    )
    return e.ExperimentOpened(
        occurred_at=OPENED,
        experiment_id="x-1",
        run_id="r-1",
        champion="base",
        challenger="a-0123456789abcdef",
        salt="s",
        share=1.0,
        contract=contract,
    )


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    """Facts as the ledger stores them, in the order of the log."""
    step = int(LENGTH / timedelta(microseconds=1)) // EXPOSURES
    connection.execute(
        f"""
        CREATE TEMP TABLE asked AS SELECT i, hash(i, {SEED}) AS h, i // {A_USER} AS u, to_timestamp({OPENED.timestamp()}) + to_microseconds(i * {step}) AS t
        FROM range({EXPOSURES}) r(i);
        INSERT INTO exposures SELECT uuid(), t, 'm' || i, 'c' || u, 'u-' || printf('%016x', hash(u)), 'x-1',
            CASE WHEN hash(u) % 2 = 0 THEN 'challenger' ELSE 'control' END, 'base', 1, i, t FROM asked;
        INSERT INTO answers (event_id, occurred_at, message_id, conversation_id, "user", experiment, arm, question, answer, covered, handoff, latency_ms,
            completion_tokens, epoch, "offset", recorded_at)
        SELECT uuid(), t + INTERVAL 1 SECOND, 'm' || i, 'c' || u, 'u-' || printf('%016x', hash(u)), 'x-1',
            CASE WHEN hash(u) % 2 = 0 THEN 'challenger' ELSE 'control' END, 'question ' || h % 997, repeat('word ', (20 + h % 40)::INTEGER), h % 11 > 0,
            h % 23 = 0, 500 + h % 900, 30 + h % 60, 1, i, t + INTERVAL 1 SECOND
        FROM asked WHERE h % 1009 > 0;
        INSERT INTO feedback SELECT uuid(), t + INTERVAL 5 SECOND, 'c' || u, 'm' || i, 'u-' || printf('%016x', hash(u)),
            CASE WHEN h % 10 < 6 THEN 'up' ELSE 'down' END, '', 1, i, t + INTERVAL 5 SECOND
        FROM asked WHERE h % 4 = 0;
        DROP TABLE asked;
        """
    )


def main() -> int:
    """Fill, look, judge."""
    with tempfile.TemporaryDirectory(prefix="csqa-bench-verdict-") as folder:
        ledger = Ledger(Path(folder) / "ledger.duckdb", deriving(PairPolicy()))
        ledger.open()
        began = time.perf_counter()
        fill(ledger.connection)
        print(f"{EXPOSURES} exposures written in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        experiment, closed = Experiment(opened(), 1.0), experiments.ClosedUsers()
        seconds = []
        for look in range(LOOKS):
            began = time.perf_counter()
            as_of = OPENED + LENGTH + look * BEAT
            challenger, control = closed.totals(ledger.connection, experiment, as_of, 2.0, 60.0)
            analyse(experiment.opened.contract, challenger, control, closed.exposed(ledger.connection, "x-1"), 1.0)
            seconds.append(time.perf_counter() - began)
            print(f"{seconds[-1]:.2f} s for {challenger.users + control.users} closed users", file=sys.stderr, flush=True)
        ledger.close()
    return report(
        "verdict_scale",
        [
            figure("verdict.seconds", statistics.median(seconds[1:]), "s", n=EXPOSURES, seed=SEED, goal=1.0, baseline=seconds[0]),
            figure("verdict.first_look_seconds", seconds[0], "s", n=EXPOSURES, seed=SEED),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
