"""Batches of the log, decoded, guarded and laid out for the ledger; while the log is being caught up, in a process of their own."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from csqa_loop.ledger.facts import Rows
from csqa_loop.ledger.recorder import facts_among, sort_out
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
        return replace(rows, records=facts_among(records, rows.letters))

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
    return replace(sort_out(records, partial(masked_event, secret, own=own)), records=())
