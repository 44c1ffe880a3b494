"""The live DuckDB file: opened by one process, migrated by name, written one batch a transaction."""

import fcntl
import logging
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

import duckdb
import pyarrow as pa

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.ledger.connection import DISK_REFUSES, OUR_SQL, incoming, keep_views, migrate, transaction
from csqa_loop.ledger.derived import Derive, DerivedTables
from csqa_loop.ledger.epochs import ask_again, begin_epoch, is_outdated, mark_republished, placed
from csqa_loop.ledger.facts import Row, Rows, arrow, lay_out
from csqa_loop.ledger.letters import insert_letters
from csqa_loop.ledger.losses import Gap, note
from csqa_loop.ledger.repeats import conflict, has_fact, sift
from csqa_loop.ledger.rules.batch import Batch, Letter, Mark

_log = logging.getLogger(__name__)

_LACKS_MEMORY = re.compile("out of memory|failed to (pin|allocate)", re.IGNORECASE)
_MOST_MEMORY_MIB = 4096


_LITTLE_BYTES = 256_000_000
"""A checkpoint may need as much as the write-ahead log holds, which is up to 128 MB."""


class Ledger:
    """All facts of the log, deduplicated, with the offsets they were taken at.

    Not thread-safe: the loop calls it from one writer thread. `reader()` gives other threads a cursor of their own.
    """

    def __init__(self, file: Path, derive: Derive, *, memory_mib: int | None = None) -> None:
        """`memory_mib` None: as much as DuckDB takes by itself, which is most of the machine's."""
        self.file = file
        self._memory_mib = memory_mib
        self._deriving = derive
        self._lock: IO[bytes] | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._derivation: DerivedTables | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    def try_lock(self) -> bool:
        """Take the lock of the one active loop of this volume; False while another process has it."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.parent.chmod(0o700)
        handle = (self.file.parent / "lock").open("ab")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            return False
        self._lock = handle
        return True

    def open(self) -> None:
        """Open and migrate.

        Raises:
            PermanentError: another process holds the ledger, or the file is not a ledger of this version.
            TransientError: the disk refuses.
        """
        if self._lock is None and not self.try_lock():
            msg = f"{self.file} is held by another loop; one is active at a time"
            raise PermanentError(msg)
        try:
            # One core stays with Python: batches are small, and threads that wait for each other cost a quarter more.
            config: dict[str, str | bool | int | float | list[str]] = {"threads": max(1, (os.cpu_count() or 2) - 1)}
            if self._memory_mib:
                config["memory_limit"] = f"{self._memory_mib}MiB"
            self._connection = duckdb.connect(str(self.file), config=config)
            self._connection.execute("SET TimeZone = 'UTC'")
            # A commit is on disk all the same. At 16 MB, the default, the last rows of every table are compressed anew eight times as often.
            self._connection.execute("SET wal_autocheckpoint = '128MB'")
            migrate(self._connection, self.file)
            self._derive()
        except PermanentError:
            self._disconnect()  # whoever mends the file puts another one in its place
            raise
        except DISK_REFUSES as error:
            self._disconnect()  # after a refused write DuckDB may refuse everything
            if self._got_more_memory(error):
                return
            raise TransientError(f"{self.file} cannot be opened: {error} ({self._room()})") from error

    def close(self) -> None:
        """Checkpoint, close and let a standby take over."""
        self._disconnect()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def reopen(self) -> None:
        """After a failed write DuckDB may refuse everything: start again from what is on disk, without giving up the lock.

        Raises:
            PermanentError, TransientError: as `open`; then it is closed.
        """
        self._disconnect()
        self.open()

    def _got_more_memory(self, error: Exception) -> bool:
        """Open the file with twice the memory where that is what lacks: DuckDB holds large values of neighbouring rows at once, and a ledger that stops is worse."""
        # It says so in a FatalException too, after a commit or a checkpoint.
        if self._memory_mib is None or not _LACKS_MEMORY.search(str(error)) or self._memory_mib >= _MOST_MEMORY_MIB:
            return False
        self._memory_mib = min(2 * self._memory_mib, _MOST_MEMORY_MIB)
        _log.warning("%s needs more memory than `ledger.memory_mib` allows; it gets %d MiB now: %s", self.file, self._memory_mib, error)
        self.reopen()
        return True

    @property
    def is_open(self) -> bool:
        """Whether it can be read and written."""
        return self._connection is not None

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(duckdb.Error):  # a checkpoint that the disk refuses; the write-ahead log holds everything
                connection.close()

    def _room(self) -> str:
        free = shutil.disk_usage(self.file.parent).free
        return f"{free / 1e6:.0f} MB are free in {self.file.parent}" + (
            "; make room there, the loop goes on by itself" if free < _LITTLE_BYTES else ""
        )

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The writer's connection."""
        if self._connection is None:
            raise PermanentError(f"{self.file} is not open")
        return self._connection

    @property
    def derivation(self) -> DerivedTables:
        """What keeps pairs, blames and ratings up to date."""
        if self._derivation is None:
            raise PermanentError(f"{self.file} is not open")
        return self._derivation

    def reader(self) -> duckdb.DuckDBPyConnection:
        """A cursor for one other thread; it sees committed batches only."""
        cursor = self.connection.cursor()
        cursor.execute("SET TimeZone = 'UTC'")
        return cursor

    def _derive(self) -> None:
        """Create the views of this code; rebuild derived tables that other code or settings made."""
        keep_views(self.connection)
        self._derivation = self._deriving(self.connection, self._append)
        if not self._derivation.is_current():
            with transaction(self.connection):
                self._derivation.rebuild()

    # --- writing ----------------------------------------------------------------------------------------------------

    def take(self, batch: Batch | Rows, *, later: bool = False) -> int:
        """Take a batch whole or not at all: new facts, their pairs, dead letters and offsets in one transaction.

        Where a record of it cannot be taken for what it holds, the batch is taken in parts, the offsets with the last one, and that record
        becomes a dead letter.

        Args:
            batch: as it was sorted out, or laid out already, which needs no ledger and may be done elsewhere.
            later: pairs and all else that is derived wait for `derive`. Not lost by a crash: what is still to be derived is noted in the transaction.

        Returns:
            How many facts were new.

        Raises:
            TransientError: the disk refused; nothing of the batch is visible.
        """
        rows = batch if isinstance(batch, Rows) else lay_out(batch)
        try:
            with transaction(self.connection):
                fresh, restated = sift(self.connection, rows.tables)
                fresh = placed(self.connection, fresh)
                for table, table_rows in fresh.items():
                    self._insert(table, table_rows.drop_columns("place"))
                self.derivation.follow(fresh, later=later)
                conflicts = [conflict(rows, place) for place in restated if not has_fact(self.connection, rows, place)]
                insert_letters(self.connection, self._append, [*rows.letters, *conflicts])
                self._set_offsets(rows.marks)
                if is_outdated(self.connection, rows, [*rows.letters, *conflicts]):
                    ask_again(self.connection)
        except OUR_SQL:
            raise
        except DISK_REFUSES as error:
            if self._got_more_memory(error):
                return self.take(rows, later=later)
            raise TransientError(self._unwritten(rows, error)) from error
        except Exception as error:  # whatever a record does to the tables or to what is derived from them, those beside it are taken
            return self._take_parts(rows, error, later=later)
        return len(fresh["events"]) if fresh else 0

    def _take_parts(self, rows: Rows, error: Exception, *, later: bool) -> int:
        """Take a batch that was refused in two parts, and these in parts, until the record is found that is refused alone: that is a dead letter."""
        self.reopen()  # what is derived may have been noted halfway, and DuckDB may refuse everything after an internal error
        if rows.facts + len(rows.letters) > 1:
            first, second = rows.halves()
            return self.take(first, later=later) + self.take(second, later=later)
        if not rows.facts:
            raise error
        event = rows.tables["events"].to_pylist()[0]
        _log.error("%s %s becomes a dead letter: the ledger refuses it", event["type"], event["event_id"], exc_info=error)
        reason = f"{event['type']} {event['event_id']}: the ledger refuses it: {type(error).__name__}: {error}"
        letter = Letter(rows.records[event["place"]], reason, event_id=str(event["event_id"]))
        return self.take(replace(rows, tables={}, letters=[letter]), later=later)

    def _unwritten(self, rows: Rows, error: Exception) -> str:
        return f"{self.file}: a batch of {rows.facts} events could not be written: {error} ({self._room()})"

    def derive(self) -> bool:
        """Derive a part of what `take` put off; whether more is left.

        Raises:
            TransientError: the disk refused; the part is still to be derived.
        """
        try:
            if self.derivation.is_behind():
                try:
                    with transaction(self.connection):
                        self.derivation.catch_up()
                except (*DISK_REFUSES, *OUR_SQL):
                    raise
                except Exception:  # which message it is, is found out one by one
                    self._derive_one_by_one()
            return self.derivation.is_behind()
        except DISK_REFUSES as error:
            msg = f"{self.file}: pairs could not be written: {error} ({self._room()})"
            raise TransientError(msg) from error

    def _derive_one_by_one(self) -> None:
        """Derive up to the first message that cannot be, and pass that one over: its facts stay, and nobody learns from them."""
        self.reopen()
        while self.derivation.is_behind():
            try:
                with transaction(self.connection):
                    self.derivation.catch_up(1)
            except (*DISK_REFUSES, *OUR_SQL):
                raise
            except Exception:  # whatever is wrong with one message, the others become pairs
                self.reopen()
                with transaction(self.connection):
                    name = self.derivation.pass_over()
                _log.exception("message %s is left without pairs, blames and ratings", name)
                return

    def _set_offsets(self, marks: Sequence[Mark]) -> None:
        if marks:
            self._append(
                "offsets",
                [asdict(mark) for mark in marks],
                "ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset, last_record_sha = excluded.last_record_sha",
            )

    def begin_epoch(self, partitions: Sequence[tuple[str, int]], reason: str) -> int:
        """The broker holds another log: read these partitions from the beginning. Facts stay; dedupe makes re-reading harmless."""
        with transaction(self.connection):
            return begin_epoch(self.connection, partitions, reason)

    def note_losses(self, gaps: Sequence[Gap]) -> None:
        """Keep what the log deleted before it was read.

        Raises:
            TransientError: the disk refused.
        """
        try:
            with transaction(self.connection):
                note(self.connection, gaps)
        except DISK_REFUSES as error:
            raise TransientError(f"{self.file}: {len(gaps)} loss(es) could not be written: {error}") from error

    def mark_republished(self, epoch: int, asked: int) -> None:
        """Note that the current policies, deployment and open request were published to the new log, unless it was asked for once more since."""
        mark_republished(self.connection, epoch, asked)

    def mark_letters_published(self, letter_ids: Sequence[str]) -> None:
        """Note that these letters were published to `csqa.dead-letters`."""
        self.connection.execute("UPDATE dead_letters SET published = true WHERE letter_id IN (SELECT unnest($1))", [list(letter_ids)])

    def _append(self, table: str, rows: list[Row], conflict: str = "") -> None:
        self._insert(table, arrow(rows), conflict)

    def _insert(self, table: str, rows: pa.Table, conflict: str = "") -> None:
        with incoming(self.connection, rows):
            self.connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming {conflict}")  # noqa: S608 - table names are ours
