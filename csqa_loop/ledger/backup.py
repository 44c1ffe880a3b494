"""Copies of the ledger, taken while it runs, and the way back from one.

Beyond the log's retention and compaction the ledger's file is the only full copy of what happened. A backup holds the offsets up to which it was
taken, so the log from there on makes it whole again, with the same hash.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from pydantic import BaseModel, ConfigDict, ValidationError

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.files.durable import sha256_of, sync, whole_folder, write_atomically
from csqa_loop.ledger.authority import ID_FILE
from csqa_loop.ledger.connection import Connection
from csqa_loop.ledger.store import Ledger

_FILE, _MANIFEST = "ledger.duckdb", "manifest.json"
_ALIAS = "backup"


class Backup(BaseModel):
    """What a backup says of itself: `manifest.json`, written last."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str
    taken_at: datetime
    ledger_id: str
    epoch: int
    events: int
    offsets: dict[str, int]
    """`csqa.chats[3]` -> the offset from which the log goes on."""
    bytes: int
    sha256: str


def take_backup(connection: Connection, folder: Path, ledger_id: str, now: datetime) -> Backup:
    """Copy the ledger as it is at one moment into a new folder in `folder`. Batches may be taken meanwhile.

    Args:
        connection: A reader of the ledger, not in a transaction.
        folder: For backups; it is made, for its owner's eyes only.
        ledger_id: The ledger's name.
        now: When this is.

    Raises:
        TransientError: the disk or DuckDB refused; nothing half-written is left.
    """
    name = f"ledger-{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with whole_folder(folder / name) as draft:
            draft.chmod(0o700)
            _copy(connection, draft / _FILE)
            backup = _described(draft / _FILE, name, ledger_id, now)
            (draft / _MANIFEST).write_bytes(backup.model_dump_json(indent=2).encode())
            for file in draft.iterdir():
                file.chmod(0o600)
    except (duckdb.Error, OSError) as error:
        raise TransientError(f"no backup could be written to {folder}: {error}") from error
    return backup


def backups_in(folder: Path) -> list[Backup]:
    """The whole backups in a folder, the oldest first."""
    found = [read_manifest(path.parent) for path in sorted(folder.glob(f"*/{_MANIFEST}")) if not path.parent.name.startswith(".")]
    return sorted(found, key=lambda backup: backup.taken_at)


def read_manifest(backup: Path) -> Backup:
    """What the backup in this folder says of itself.

    Raises:
        PermanentError: it is none, or is damaged.
    """
    try:
        return Backup.model_validate_json((backup / _MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise PermanentError(f"{backup} is no whole backup: {error}; name a folder that `csqa ledger backup` made") from error


def verify(backup: Path) -> Backup:
    """As `read_manifest`, and the file has the bytes that were written.

    Raises:
        PermanentError: it has not.
    """
    said = read_manifest(backup)
    file = backup / _FILE
    try:
        found = sha256_of(file)
    except OSError as error:
        raise PermanentError(f"{file} cannot be read: {error}") from error
    if found != said.sha256:
        raise PermanentError(
            f"{file} has changed since it was written (sha256 {found[:12]}, and {said.sha256[:12]} in its manifest); use another backup"
        )
    return said


def drop_old(folder: Path, keep: int) -> list[str]:
    """Remove all but the newest `keep` backups; their names. The newest is verified first, so that the last good one is never removed for a bad one.

    Raises:
        PermanentError: the newest is damaged; nothing is removed.
    """
    backups = backups_in(folder)
    if len(backups) <= keep:
        return []
    verify(folder / backups[-1].name)
    old = [backup.name for backup in backups[:-keep]]
    for name in old:
        shutil.rmtree(folder / name)
    return old


def copy_of(backup: Path, target: Path) -> None:
    """The backup's database as `target`, seen whole or not at all.

    Raises:
        TransientError: the disk refuses.
    """
    draft = target.with_name(f".{target.name}.restoring")
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(backup / _FILE, draft)
        draft.chmod(0o600)
        sync(draft)
        draft.replace(target)
        sync(target.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise TransientError(f"{target} cannot be written: {error}") from error


def restore(backup: Path, ledger: Ledger, now: datetime) -> tuple[Backup, Path | None]:
    """Put a backup in the ledger's place. What was there is kept beside it; the second value says where.

    The ledger is the log's own again: it has the name of the one that was backed up.

    Raises:
        PermanentError: the backup is damaged, or a loop holds the ledger.
        TransientError: the disk refuses; what was there is there still.
    """
    said = verify(backup)
    if not ledger.try_lock():
        raise PermanentError(f"{ledger.file} is held by a running loop; stop it first (`csqa down`), then restore")
    try:
        aside = _set_aside(ledger.file, now)
        copy_of(backup, ledger.file)
        write_atomically(ledger.file.parent / ID_FILE, f"{said.ledger_id}\n".encode())
    finally:
        ledger.close()
    return said, aside


def _set_aside(file: Path, now: datetime) -> Path | None:
    if not file.exists():
        return None
    aside = file.parent / f"before-restore-{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"
    aside.mkdir(mode=0o700)
    # The write-ahead log first: without its database it is no ledger, and the database with another one's would be a wrong one.
    for part in (file.with_name(file.name + ".wal"), file):
        if part.exists():
            part.rename(aside / part.name)
    sync(file.parent)
    return aside


def _copy(connection: Connection, target: Path) -> None:
    row = connection.execute("SELECT current_database()").fetchone()
    assert row is not None
    connection.execute(f"ATTACH '{str(target).replace(chr(39), chr(39) * 2)}' AS {_ALIAS}")
    try:
        connection.execute(f'COPY FROM DATABASE "{row[0]}" TO {_ALIAS}')
    finally:
        connection.execute(f"DETACH DATABASE IF EXISTS {_ALIAS}")


def _described(file: Path, name: str, ledger_id: str, now: datetime) -> Backup:
    """Read from the copy itself: what it says is what it holds."""
    with duckdb.connect(str(file), read_only=True, config={"threads": 1}) as copy:
        offsets = copy.execute("SELECT topic, partition, next_offset FROM offsets ORDER BY ALL").fetchall()
        row = copy.execute("SELECT (SELECT count(*) FROM events), (SELECT coalesce(max(epoch), 1) FROM epochs)").fetchone()
    events, epoch = row or (0, 1)
    return Backup(
        name=name,
        taken_at=now,
        ledger_id=ledger_id,
        epoch=epoch,
        events=events,
        offsets={f"{topic}[{partition}]": offset for topic, partition, offset in offsets},
        bytes=file.stat().st_size,
        sha256=sha256_of(file),
    )
