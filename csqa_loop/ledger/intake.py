"""Batches on their way from the log into the ledger: sorted out beside each other, written one after the other, then committed to Kafka."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from csqa_loop.ledger.facts import Rows
from csqa_loop.ledger.position import Position
from csqa_loop.ledger.recorder import Recorder
from csqa_loop.ledger.service import LedgerService
from csqa_loop.ledger.sorting import LONG
from csqa_loop.log.records import LogRecord

_log = logging.getLogger(__name__)
_MOST_BATCHES = 2
"""Batches: one being sorted out and one written. What comes meanwhile is the next batch, and the longer it is, the less an event of it costs."""
_MOST_LONG_BATCHES = 6
"""While the log is being caught up batches are as long as they may be; some wait while DuckDB writes a checkpoint."""


class Intake:
    """At least once: a batch is durable in the ledger before Kafka may forget it.

    After a batch that could not be taken because of an unforeseen error, nothing is written: `run` raises that error, and the next start begins
    at the ledger's offsets.
    """

    def __init__(
        self,
        ledger: LedgerService,
        position: Position,
        sort_out: Callable[[Sequence[LogRecord]], Awaitable[Rows]],
        *,
        consumer: Callable[[], AIOKafkaConsumer | None],
        commit_seconds: float,
    ) -> None:
        """`consumer` gives the present one; `commit_seconds` bound one commit."""
        self._position = position
        self._sort_out = sort_out
        self._ledger = ledger
        self._recorder: Recorder[tuple[Sequence[LogRecord], Rows]] = Recorder(self._write)
        self._consumer = consumer
        self._commit_seconds = commit_seconds
        self._writing: asyncio.Task[None] | None = None
        self._batches = 0
        self._batch_ended = asyncio.Condition()
        self._committing: asyncio.Task[None] | None = None
        self._uncommitted: dict[TopicPartition, int] = {}
        self._error: Exception | None = None
        self._failed = asyncio.Event()

    @property
    def trouble(self) -> str | None:
        """Why the ledger takes nothing at present."""
        return self._recorder.trouble

    async def take(self, records: Sequence[LogRecord]) -> None:
        """Return once this batch is on its way; it is written after those before it."""
        most = _MOST_LONG_BATCHES if len(records) >= LONG else _MOST_BATCHES
        async with self._batch_ended:
            await self._batch_ended.wait_for(lambda: self._batches < most)
            self._batches += 1
        if self._writing is not None and self._writing.done():
            self._writing.result()  # raises where nothing may be written any more
        self._writing = asyncio.create_task(self._process(records, self._writing))

    async def run(self) -> None:
        """Wait until a batch could not be taken, then raise its error. Foreseen errors were handled before."""
        await self._failed.wait()
        assert self._error is not None
        raise self._error

    async def written(self) -> None:
        """Return when no batch is being written."""
        if self._writing is not None:
            await asyncio.wait({self._writing})

    async def _process(self, records: Sequence[LogRecord], before: asyncio.Task[None] | None) -> None:
        try:
            rows = await self._sort_out(records)
            if before is not None:
                await asyncio.shield(before)  # raises: nothing may be written after a batch that was not
            await self._recorder.record((records, rows))
        except Exception as error:
            self._error = self._error or error
            self._failed.set()
            raise
        finally:
            async with self._batch_ended:
                self._batches -= 1
                self._batch_ended.notify_all()
        self._position.advance(records)
        # By name: the consumer's own position is already that of a later batch.
        self._uncommitted |= {TopicPartition(mark.topic, mark.partition): mark.next_offset for mark in rows.marks}
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit())

    async def _write(self, batch: tuple[Sequence[LogRecord], Rows]) -> int:
        records, rows = batch
        await self._position.look_for_gaps(records)
        # Nobody reads pairs before the log has been caught up, and many at once cost less than a few with every batch.
        return await self._ledger.take(rows, later=not self._position.at_end)

    async def _commit(self) -> None:
        """Tell Kafka what is durable, beside the writing: the ledger's offsets are the truth, and no batch waits for Kafka's copy."""
        while self._uncommitted and (consumer := self._consumer()) is not None:
            offsets, self._uncommitted = self._uncommitted, {}
            try:
                async with asyncio.timeout(self._commit_seconds):
                    await consumer.commit(offsets)
            except Exception as error:  # whatever it is: the next batch's commit includes these offsets
                _log.warning("offsets are in the ledger but not yet in Kafka: %r", error)
                self._uncommitted = offsets | self._uncommitted
                return
