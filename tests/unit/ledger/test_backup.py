"""Backups of a ledger: whole, named, verified before an older one goes, and the way back keeps what was there."""

from datetime import timedelta
from pathlib import Path

import pytest

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.ledger.backup import backups_in, drop_old, read_manifest, restore, take_backup, verify
from csqa_loop.ledger.invariants import ledger_hash
from tests import events as make
from tests.ledgers import ledger_at

EVENTS = (make.policy("# Returns\n\n14 days."), make.answer(1), make.bad_case(1), make.thumb(1))
NAME = "l-0123456789abcdef"


def taken(tmp_path: Path, *, hour: int = 0) -> tuple[Path, str]:
    """A backup of a ledger that goes on, and the hash it had."""
    ledger = ledger_at(tmp_path / "live" / "ledger.duckdb")
    ledger.open()
    try:
        ledger.take(make.batch(*EVENTS))
        before = ledger_hash(ledger.connection)
        backup = take_backup(ledger.reader(), tmp_path / "kept", NAME, make.at(3600 * hour))
        ledger.take(make.batch(make.answer(2), make.thumb(2), first_offset=50))
    finally:
        ledger.close()
    return tmp_path / "kept" / backup.name, before


def test_a_backup_is_the_ledger_of_its_moment(tmp_path: Path) -> None:
    backup, before = taken(tmp_path)
    said = verify(backup)
    assert (said.events, said.ledger_id, said.epoch) == (len(EVENTS), NAME, 1)
    assert sum(said.offsets.values()) >= len(EVENTS)
    assert [file.stat().st_mode & 0o777 for file in sorted(backup.iterdir())] == [0o600, 0o600]
    assert backup.stat().st_mode & 0o777 == 0o700
    target = ledger_at(tmp_path / "new" / "ledger.duckdb")
    assert restore(backup, target, make.at(0)) == (said, None)
    target.open()
    assert ledger_hash(target.connection) == before
    assert (tmp_path / "new" / "ledger.id").read_text() == f"{NAME}\n"
    assert target.take(make.batch(make.answer(1), make.answer(3))) == 1
    target.close()


def test_what_was_there_is_kept(tmp_path: Path) -> None:
    backup, before = taken(tmp_path)
    live = ledger_at(tmp_path / "live" / "ledger.duckdb")
    _, aside = restore(backup, live, make.at(9))
    assert aside is not None
    former = ledger_at(aside / "ledger.duckdb")
    former.open()
    assert former.connection.execute("SELECT count(*) FROM answers").fetchone() == (2,)
    former.close()
    live.open()
    assert ledger_hash(live.connection) == before
    live.close()


def test_a_running_loop_keeps_its_ledger(tmp_path: Path) -> None:
    backup, _ = taken(tmp_path)
    holder = ledger_at(tmp_path / "live" / "ledger.duckdb")
    assert holder.try_lock()
    with pytest.raises(PermanentError, match="held by a running loop"):
        restore(backup, ledger_at(tmp_path / "live" / "ledger.duckdb"), make.at(0))
    holder.close()
    assert not list((tmp_path / "live").glob("before-restore*"))


def test_a_damaged_backup_restores_nothing_and_removes_nothing(tmp_path: Path) -> None:
    first, _ = taken(tmp_path, hour=1)
    last, _ = taken(tmp_path, hour=2)
    body = bytearray((last / "ledger.duckdb").read_bytes())
    body[len(body) // 2] ^= 1
    (last / "ledger.duckdb").write_bytes(body)
    with pytest.raises(PermanentError, match="has changed since it was written"):
        restore(last, ledger_at(tmp_path / "live" / "ledger.duckdb"), make.at(0))
    with pytest.raises(PermanentError, match="has changed"):
        drop_old(tmp_path / "kept", 1)
    assert [backup.name for backup in backups_in(tmp_path / "kept")] == [first.name, last.name]
    (last / "manifest.json").unlink()
    with pytest.raises(PermanentError, match="is no whole backup"):
        read_manifest(last)
    assert [backup.name for backup in backups_in(tmp_path / "kept")] == [first.name]


def test_the_newest_are_kept(tmp_path: Path) -> None:
    names = [taken(tmp_path, hour=hour)[0].name for hour in (3, 1, 2)]
    assert drop_old(tmp_path / "kept", 2) == [names[1]]
    assert drop_old(tmp_path / "kept", 2) == []
    assert [backup.taken_at for backup in backups_in(tmp_path / "kept")] == [make.at(0) + timedelta(hours=hour) for hour in (2, 3)]


def test_a_folder_that_refuses_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ledger = ledger_at(tmp_path / "live" / "ledger.duckdb")
    ledger.open()
    with pytest.raises(TransientError, match="no backup could be written"):
        take_backup(ledger.reader(), tmp_path / "file", NAME, make.at(0))
    ledger.close()
