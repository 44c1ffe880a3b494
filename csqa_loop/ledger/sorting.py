"""Batches of the log, decoded, guarded and laid out for the ledger; while the log is being caught up, in a process of their own."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from csqa_loop.ledger.facts import Rows, tables_of
from csqa_loop.ledger.recorder import facts_of
from csqa_loop.ledger.rules.batch import Letter, marks_of
from csqa_loop.ledger.rules.masking import masked_event
from csqa_loop.ledger.side_process import SideProcess
from csqa_loop.log.records import LogRecord
from csqa_loop.text.masking import NOTHING, Known

LONG = 500
"""Records from which another process is worth sending them there and their rows back."""


class Sorter:
    """Batches of records to rows."""

    def __init__(self, secret: bytes, own: Known = NOTHING) -> None:
        self._side = SideProcess(partial(_rows_alone, secret, own), long=LONG)

    async def __call__(self, records: Sequence[LogRecord]) -> Rows:
        """The rows of `records`; dead letters are among them."""
        rows = await self._side(_Parcel(records))
        refused = {_where(letter.record) for letter in rows.letters}
        return replace(rows, records=[record for record in records if _where(record) not in refused] if refused else records)

    async def close(self) -> None:
        """End the process."""
        await self._side.close()


class _Parcel(list[LogRecord]):
    """Records that are pickled field by field: one by one takes twice as long, and keeps Python's lock from the loop meanwhile."""

    def __reduce__(self) -> tuple[Callable[..., list[LogRecord]], tuple[tuple[Any, ...], ...]]:
        return _unpacked, tuple(zip(*self, strict=True))


def _unpacked(*fields: Sequence[Any]) -> list[LogRecord]:
    return list(map(LogRecord._make, zip(*fields, strict=True)))


def _rows_alone(secret: bytes, own: Known, records: Sequence[LogRecord]) -> Rows:
    """Without the records: they need not travel back."""
    letters: list[Letter] = []
    tables = tables_of(facts_of(records, partial(masked_event, secret, own=own), letters))
    return Rows(tables, (), letters, marks_of(records))


def _where(record: LogRecord) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset
