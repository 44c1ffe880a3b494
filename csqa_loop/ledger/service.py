"""The ledger for asyncio: one writer thread, two reader threads, and a condition that is notified after every batch."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar
from uuid import UUID

from csqa_loop.errors import TransientError
from csqa_loop.ledger import losses
from csqa_loop.ledger.bookkeeping import has_event
from csqa_loop.ledger.facts import Rows
from csqa_loop.ledger.reserve import Reserve
from csqa_loop.ledger.rules.batch import Batch
from csqa_loop.ledger.store import Ledger

R = TypeVar("R")
_STANDBY_BEAT_SECONDS = 0.5
_REOPENED_WITHIN = 5.0
"""Seconds that a question waits for a ledger that is being opened again."""


class LedgerService:
    """Writes go through one thread, reads through others on cursors of their own, so that a long query delays no batch."""

    def __init__(self, ledger: Ledger, reserve: Reserve | None = None) -> None:
        self._ledger = ledger
        self._reserve = reserve or Reserve(ledger.file.parent, 0)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._reader = ThreadPoolExecutor(2, thread_name_prefix="ledger-reader")
        self._batch_taken = asyncio.Condition()
        self._readable = asyncio.Event()
        if ledger.is_open:
            self._readable.set()
        self.batches = 0
        self.losses: list[losses.Loss] = []
        """What the log deleted before it was read and no operator has acknowledged."""
        self.pairs_outstanding = False
        """Whether the ledger holds facts whose pairs, blames and ratings are not derived yet."""

    async def open(self) -> None:
        """Open the file; the lock must be held already."""
        try:
            await self._on(self._writer, self._ledger.open)
        except TransientError:
            if not self._reserve.give_up():
                raise
            await self._on(self._writer, self._ledger.open)
        self._readable.set()
        self._reserve.hold()
        self.pairs_outstanding = await self._on(self._writer, self._ledger.derivation.is_behind)
        await self._look_at_losses()

    async def close(self) -> None:
        """Checkpoint and release the lock."""
        await self._on(self._reader, lambda: None)
        await self._on(self._writer, self._ledger.close)
        self._writer.shutdown()
        self._reader.shutdown()

    async def wait_for_lock(self) -> None:
        """Be a standby until this is the one active loop of the volume."""
        while not self._ledger.try_lock():  # noqa: ASYNC110 - no event of this process tells that another one released a file lock
            await asyncio.sleep(_STANDBY_BEAT_SECONDS)

    async def take(self, batch: Batch | Rows, *, later: bool = False) -> int:
        """As `Ledger.take`. After a refused write the file is opened again before the caller's next try."""
        fresh = await self._write(partial(self._ledger.take, batch, later=later))
        self.pairs_outstanding |= later  # after it: a `derive` that ended while this waited knew nothing of it
        self.batches += 1
        async with self._batch_taken:
            self._batch_taken.notify_all()
        return fresh

    async def derive(self) -> None:
        """Derive all that was put off. Batches may be taken between its parts."""
        while self.pairs_outstanding:
            self.pairs_outstanding = await self._write(self._ledger.derive)

    async def wait_for(self, event_id: UUID, seconds: float) -> bool:
        """Whether the ledger came to hold the event within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                async with self._batch_taken:
                    while not await self.ask(has_event, str(event_id)):
                        await self._batch_taken.wait()
        except TimeoutError:
            return False
        return True

    async def next_batch(self, batches: int, seconds: float) -> None:
        """Return once more than `batches` batches were taken, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds), self._batch_taken:
                await self._batch_taken.wait_for(lambda: self.batches > batches)
        except TimeoutError:
            return

    async def ask(self, query: Callable[..., R], *arguments: object, **named: object) -> R:
        """Run `query(cursor, ...)` on a reader thread.

        Raises:
            TransientError: the ledger is closed, as the disk refuses to open it again.
        """
        try:
            async with asyncio.timeout(_REOPENED_WITHIN):
                await self._readable.wait()
        except TimeoutError:
            raise TransientError(self._reserve.trouble or "the ledger is not open") from None

        def run() -> R:
            cursor = self._ledger.reader()
            try:
                return query(cursor, *arguments, **named)
            finally:
                cursor.close()

        return await self._on(self._reader, run)

    async def begin_epoch(self, partitions: Sequence[tuple[str, int]], reason: str) -> int:
        """As `Ledger.begin_epoch`."""
        return await self._on(self._writer, self._ledger.begin_epoch, partitions, reason)

    async def note_losses(self, gaps: Sequence[losses.Gap]) -> None:
        """Keep what the log deleted before it was read. Before the batch that comes after it: its offset says that all before was taken.

        Raises:
            TransientError: the disk refused.
        """
        await self._write(partial(self._ledger.note_losses, gaps))
        await self._look_at_losses()

    async def acknowledge_losses(self, words: str) -> int:
        """How many were new to the operator whose `words` these are."""
        acknowledged = await self._on(self._writer, lambda: losses.acknowledge(self._ledger.connection, words))
        await self._look_at_losses()
        return acknowledged

    async def _look_at_losses(self) -> None:
        self.losses = await self.ask(losses.unacknowledged)

    async def mark_republished(self, epoch: int, asked: int) -> None:
        """As `Ledger.mark_republished`."""
        await self._on(self._writer, self._ledger.mark_republished, epoch, asked)

    async def mark_letters_published(self, letter_ids: Sequence[str]) -> None:
        """As `Ledger.mark_letters_published`."""
        await self._on(self._writer, self._ledger.mark_letters_published, letter_ids)

    async def _write(self, call: Callable[[], R]) -> R:
        """A write; after one that the disk refused, the reserve is given up."""
        try:
            if not self._ledger.is_open:
                await self._reopen()
            written = await self._on(self._writer, call)
        except TransientError:
            self._reserve.give_up()
            with suppress(TransientError):  # tried again before the next write
                await self._reopen()
            raise
        self._reserve.hold()
        return written

    async def _reopen(self) -> None:
        self._readable.clear()
        await self._on(self._writer, self._ledger.reopen)
        self._readable.set()

    @property
    def disk_trouble(self) -> str | None:
        """Why the ledger's disk must be looked after."""
        return self._reserve.trouble

    @staticmethod
    async def _on(executor: ThreadPoolExecutor, call: Callable[..., R], *arguments: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(executor, call, *arguments)
