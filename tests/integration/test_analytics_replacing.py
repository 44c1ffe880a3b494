"""How the analysts' file is replaced: under readers, after failures, beside a ledger that goes on."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from csqa_loop.analytics.copy import publish_analytics
from csqa_loop.errors import TransientError
from csqa_loop.ledger.rules.batch import Batch, Letter
from csqa_loop.ledger.store import Ledger
from csqa_loop.log.records import LogRecord
from tests.ledgers import ledger_at
from tests.shop_history import at, chats, history, in_log


@pytest.fixture
def ledger(tmp_path: Path):
    made = ledger_at(tmp_path / "ledger" / "ledger.duckdb")
    made.open()
    facts = in_log(history())
    letter = Letter(LogRecord("csqa.feedback", 0, 7, b"c1", b'{"mail": "ann@example.com"}'), "FeedbackGiven: message_id is missing")
    made.take(Batch(facts=facts, letters=[letter], marks=[]))
    yield made
    made.close()


def test_an_empty_ledger_publishes_empty_views(tmp_path: Path):
    empty = ledger_at(tmp_path / "ledger" / "ledger.duckdb")
    empty.open()
    publish_analytics(empty.reader(), tmp_path / "out" / "analytics.duckdb", at(0))
    empty.close()
    with duckdb.connect(str(tmp_path / "out" / "analytics.duckdb"), read_only=True) as analytics:
        views = [
            name
            for (name,) in analytics.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'").fetchall()
        ]
        assert len(views) == 16
        assert all(analytics.execute(f"SELECT count(*) FROM {view}").fetchone() == (0,) for view in views)


def test_the_ledger_goes_on_and_leftovers_go_away(ledger: Ledger, tmp_path: Path):
    target = tmp_path / "analytics.duckdb"
    target.with_name(".analytics.duckdb.publishing").write_bytes(b"a killed publisher left this")
    target.with_name(".analytics.duckdb.publishing.wal").write_bytes(b"and this")
    target.with_name("analytics.duckdb.wal").write_bytes(b"and a writing reader this")
    cursor = ledger.reader()
    publish_analytics(cursor, target, at(1))
    ledger.take(Batch(facts=in_log(chats(999)), letters=[], marks=[]))
    publish_analytics(cursor, target, at(2))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["analytics.duckdb", "ledger"]
    with duckdb.connect(str(target), read_only=True) as analytics:
        assert analytics.execute("SELECT count(*) FROM answers WHERE message_id = 'm999'").fetchone() == (1,)
        assert analytics.execute("SELECT epoch(as_of) FROM published").fetchone() == (at(2).timestamp(),)


def test_a_failure_leaves_the_old_file_and_the_ledger_usable(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "analytics.duckdb"
    cursor = ledger.reader()
    publish_analytics(cursor, target, at(1))
    before = target.read_bytes()
    monkeypatch.setattr("csqa_loop.analytics.copy._TABLES", ("answers", "no_such_table"))
    with pytest.raises(TransientError, match=r"analytics\.duckdb could not be published: .*no_such_table"):
        publish_analytics(cursor, target, at(2))
    assert target.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["analytics.duckdb", "ledger"]
    monkeypatch.undo()
    publish_analytics(cursor, target, at(3))
    assert cursor.execute("SELECT count(*) FROM answers").fetchone() == (80,)


READER = """
import select, sys, duckdb
opened = 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.003)[0]:
    with duckdb.connect(sys.argv[1], read_only=True) as analytics:
        answers, experiments = analytics.execute("SELECT (SELECT sum(answers) FROM daily_satisfaction), (SELECT count(*) FROM experiments)").fetchone()
        assert answers >= 80 and experiments == 2, (answers, experiments)
    opened += 1
print(opened)
"""


@pytest.mark.timeout(300)  # 50 publishes, on a machine that may be busy
def test_a_reader_never_fails_while_the_file_is_replaced(ledger: Ledger, tmp_path: Path):
    target = tmp_path / "analytics.duckdb"
    cursor = ledger.reader()
    publish_analytics(cursor, target, at(0))
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert reader.stdout.readline() == "ready\n"
        for number in range(50):
            ledger.take(Batch(facts=in_log(chats(1000 + number)), letters=[], marks=[]))
            publish_analytics(cursor, target, at(number))
        said, failed = reader.communicate(input="stop\n", timeout=60)
    finally:
        reader.kill()
    assert reader.returncode == 0, failed
    assert int(said) > 20
