"""A disk that takes no more: the batch is refused whole, what was committed stays, and the ledger goes on when there is room."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import resource, signal, sys
from pathlib import Path
from tests.ledgers import ledger_at
from csqa_loop.ledger.invariants import check
from csqa_loop.errors import TransientError
from tests import events as make

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = ledger_at(Path(sys.argv[1]) / "ledger.duckdb")
ledger.open()
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))

def batch(number):
    return make.batch(*(make.answer(number * 100 + n, question="x" * 2000 + str(n)) for n in range(100)), first_offset=number * 100)

taken, refused = 0, None
while taken < 200:
    try:
        ledger.take(batch(taken))
    except TransientError as error:
        refused = str(error)
        break
    taken += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
ledger.reopen()
held = ledger.connection.execute("SELECT count(*) FROM answers").fetchone()[0]
ledger.take(batch(taken))
after = ledger.connection.execute("SELECT count(*) FROM answers").fetchone()[0]
next_offset = ledger.connection.execute("SELECT next_offset FROM offsets").fetchone()[0]
whole = all(finding.holds for finding in check(ledger.connection, champion="base"))
ledger.close()
print(refused is not None, "ledger.duckdb" in (refused or ""), held == taken * 100, after == (taken + 1) * 100 == next_offset, whole)
print(refused, taken, held, after, file=sys.stderr)
"""


def test_a_full_disk_loses_nothing_that_was_taken(tmp_path: Path) -> None:
    told = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=100, check=False)
    assert told.stdout.split() == ["True"] * 5, told.stdout + told.stderr
