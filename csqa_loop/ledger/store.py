"""The live DuckDB file: opened by one process, migrated by name, written one batch a transaction."""

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.ledger.connection import create_views, migrate, transaction
from csqa_loop.ledger.derived import Derive, DerivedTables
from csqa_loop.ledger.facts import Row, Rows, arrow, lay_out
from csqa_loop.ledger.losses import Gap, note
from csqa_loop.ledger.rules.batch import Batch, Letter, Mark

_REPEATS = """
SELECT place, body_sha = coalesce(held, first) FROM (
    SELECT place, incoming.body_sha, events.body_sha AS held, row_number() OVER same_id AS nth, first_value(incoming.body_sha) OVER same_id AS first
    FROM incoming LEFT JOIN events USING (event_id) WINDOW same_id AS (PARTITION BY event_id ORDER BY place)
) WHERE held IS NOT NULL OR nth > 1
"""
"""(place, whether the bytes are those by which the event is known) of incoming rows whose event is in the ledger, or earlier in the batch."""
# A COMMIT that the disk refuses is a TransactionException; what comes after it may be a FatalException.
_DISK_REFUSES = (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.TransactionException, duckdb.FatalException, OSError)


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
        except duckdb.IOException as error:
            msg = f"{self.file} cannot be opened: {error}"
            raise TransientError(msg) from error

    def close(self) -> None:
        """Checkpoint, close and let a standby take over."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def reopen(self) -> None:
        """After a failed write DuckDB may refuse everything: start again from what is on disk, without giving up the lock."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.open()

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The writer's connection."""
        if self._connection is None:
            msg = f"{self.file} is not open"
            raise PermanentError(msg)
        return self._connection

    @property
    def derivation(self) -> DerivedTables:
        """What keeps pairs, blames and ratings up to date."""
        if self._derivation is None:
            msg = f"{self.file} is not open"
            raise PermanentError(msg)
        return self._derivation

    def reader(self) -> duckdb.DuckDBPyConnection:
        """A cursor for one other thread; it sees committed batches only."""
        cursor = self.connection.cursor()
        cursor.execute("SET TimeZone = 'UTC'")
        return cursor

    def _derive(self) -> None:
        """Create the views of this code; rebuild derived tables that other code or settings made."""
        create_views(self.connection)
        self._derivation = self._deriving(self.connection, self._append)
        if not self._derivation.is_current():
            with transaction(self.connection):
                self._derivation.rebuild()

    # --- writing ----------------------------------------------------------------------------------------------------

    def take(self, batch: Batch | Rows, *, later: bool = False) -> int:
        """Take a batch whole or not at all: new facts, their pairs, dead letters and offsets in one transaction.

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
                fresh, restated = self._sift(rows.tables)
                for table, table_rows in fresh.items():
                    self._insert(table, table_rows.drop_columns("place"))
                self.derivation.follow(fresh, later=later)
                self._insert_letters(
                    [*rows.letters, *(self._conflict(rows, place) for place in restated if not self._has_fact(rows, place))]
                )
                self._set_offsets(rows.marks)
        except _DISK_REFUSES as error:
            msg = f"{self.file}: a batch of {len(rows.records)} events could not be written: {error}"
            raise TransientError(msg) from error
        return len(fresh["events"]) if fresh else 0

    def derive(self) -> bool:
        """Derive a part of what `take` put off; whether more is left.

        Raises:
            TransientError: the disk refused; the part is still to be derived.
        """
        try:
            if self.derivation.is_behind():
                with transaction(self.connection):
                    self.derivation.catch_up()
            return self.derivation.is_behind()
        except _DISK_REFUSES as error:
            msg = f"{self.file}: pairs could not be written: {error}"
            raise TransientError(msg) from error

    def _sift(self, tables: Mapping[str, pa.Table]) -> tuple[Mapping[str, pa.Table], list[int]]:
        """(rows of events that are new, once each; places of those whose id is known from a record with other bytes)."""
        if not tables:
            return {}, []
        with self._incoming(tables["events"].select(["place", "event_id", "body_sha"])):
            repeats = self.connection.execute(_REPEATS).fetchall()
        if not repeats:
            return tables, []
        places = pa.array([place for place, _ in repeats], pa.int32())
        fresh = {table: rows.filter(pc.invert(pc.is_in(rows["place"], places))) for table, rows in tables.items()}
        return {table: rows for table, rows in fresh.items() if len(rows)}, [place for place, alike in repeats if not alike]

    def _has_fact(self, rows: Rows, place: int) -> bool:
        """Whether the ledger holds this very fact, from a record that was written another way. An example is its content: from another file it is the same."""
        here = pc.field("place") == place
        table, row = next(
            (table, own) for table, all_rows in rows.tables.items() if table != "events" and len(own := all_rows.filter(here))
        )
        if table == "examples":
            return True
        alike = " AND ".join(f'held."{name}" IS NOT DISTINCT FROM incoming."{name}"' for name in row.column_names if name != "place")
        with self._incoming(row):
            # By row: else the whole table would be decompressed to compare one.
            same_id = f"SELECT * FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE event_id = (SELECT event_id FROM incoming))"  # noqa: S608 - table and column names are ours
            return bool(self.connection.execute(f"SELECT 1 FROM ({same_id}) held, incoming WHERE {alike}").fetchone())  # noqa: S608

    @staticmethod
    def _conflict(rows: Rows, place: int) -> Letter:
        event = rows.tables["events"].filter(pc.field("place") == place).select(["type", "event_id"]).to_pylist()[0]
        reason = f"{event['type']} {event['event_id']}: this event_id is known with another body"
        return Letter(rows.records[place], reason, event_id=str(event["event_id"]))

    def _insert_letters(self, letters: Sequence[Letter]) -> None:
        once = {letter.letter_id: letter for letter in letters}
        if not once:
            return
        recorded = self.connection.execute(
            "SELECT letter_id FROM dead_letters WHERE letter_id IN (SELECT unnest($1))", [list(once)]
        ).fetchall()
        new = [letter for name, letter in once.items() if (name,) not in recorded]
        if new:
            moment = datetime.now(UTC)
            self._append(
                "dead_letters",
                [
                    {
                        "letter_id": letter.letter_id, "occurred_at": moment, "topic": letter.record.topic,
                        "key": (letter.record.key or b"").decode(errors="replace"), "original_key": letter.record.key, "value": letter.record.value,
                        "partition": letter.record.partition, "offset": letter.record.offset, "event_id": letter.event_id, "reason": letter.reason,
                    }
                    for letter in new
                ],
            )  # fmt: skip

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
            row = self.connection.execute("SELECT coalesce(max(epoch), 1) + 1 FROM epochs").fetchone()
            epoch = int(row[0]) if row else 1
            self.connection.execute("INSERT INTO epochs VALUES (?, now(), ?, false)", [epoch, reason])
            for topic, partition in partitions:
                self.connection.execute("DELETE FROM offsets WHERE topic = ? AND partition = ?", [topic, partition])
        return epoch

    def note_losses(self, gaps: Sequence[Gap]) -> None:
        """Keep what the log deleted before it was read.

        Raises:
            TransientError: the disk refused.
        """
        try:
            with transaction(self.connection):
                note(self.connection, gaps)
        except _DISK_REFUSES as error:
            msg = f"{self.file}: {len(gaps)} loss(es) could not be written: {error}"
            raise TransientError(msg) from error

    def mark_republished(self, epoch: int) -> None:
        """Note that the current policies, deployment and open request were published to the new log."""
        self.connection.execute("UPDATE epochs SET republished = true WHERE epoch <= ?", [epoch])

    def mark_letters_published(self, letter_ids: Sequence[str]) -> None:
        """Note that these letters were published to `csqa.dead-letters`."""
        self.connection.execute("UPDATE dead_letters SET published = true WHERE letter_id IN (SELECT unnest($1))", [list(letter_ids)])

    def _append(self, table: str, rows: list[Row], conflict: str = "") -> None:
        self._insert(table, arrow(rows), conflict)

    def _insert(self, table: str, rows: pa.Table, conflict: str = "") -> None:
        with self._incoming(rows):
            self.connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming {conflict}")  # noqa: S608 - table names are ours

    @contextmanager
    def _incoming(self, rows: pa.Table) -> Iterator[None]:
        """Rows as a table called `incoming`: lists handed over as parameters cost DuckDB an object a value."""
        self.connection.register("incoming", rows)
        try:
            yield
        finally:
            self.connection.unregister("incoming")
