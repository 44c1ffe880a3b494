"""Where the loop stands in the log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from csqa_loop.errors import TransientError
from csqa_loop.events.topics import TOPICS
from csqa_loop.ledger.bookkeeping import next_offsets
from csqa_loop.ledger.losses import Gap
from csqa_loop.ledger.service import LedgerService
from csqa_loop.log.position import Bearings, take_bearings
from csqa_loop.log.records import LogRecord
from csqa_loop.retry import FailedTry, growing, retried
from csqa_loop.settings import KafkaSettings

_log = logging.getLogger(__name__)
_LONG_AGO = datetime.fromtimestamp(0, UTC)


class Position(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """Where the ledger stands in the log: seeks to it on assignment, notices another log, knows when it has caught up."""

    def __init__(
        self,
        ledger: LedgerService,
        ensure_topics: Callable[[], Awaitable[None]],
        servers: str,
        settings: KafkaSettings,
        *,
        consumer: Callable[[], AIOKafkaConsumer | None],
        written: Callable[[], Awaitable[None]],
        clock: Callable[[], datetime],
        topics: Sequence[str],
    ) -> None:
        """`consumer` gives the present one; `written` returns when no batch is being written; `topics`: all that the ledger is made of."""
        self._topics = tuple(topics)
        self._ledger = ledger
        self._ensure_topics = ensure_topics
        self._servers = servers
        self._settings = settings
        self._consumer = consumer
        self._written = written
        self._clock = clock
        self._next: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._last_record_ms: dict[TopicPartition, int] = {}
        self._horizon = _LONG_AGO

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Another member takes over; batches under way here are deduplicated there."""
        for partition in revoked:
            self._next.pop(partition, None)
            self._ends.pop(partition, None)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Seek to the ledger's offsets, whatever the group committed."""
        consumer = self._consumer()
        if not assigned or consumer is None:
            return
        await self._written()  # what is being written moves the ledger's offsets
        offsets = await self._ledger.ask(next_offsets)

        async def compare() -> Bearings:
            await self._ensure_topics()  # a broker that came back empty has none
            return await take_bearings(self._servers, self._settings, sorted(assigned), offsets)

        def report_failure(failed: FailedTry) -> None:
            _log.warning("comparing the log with the ledger: %s; trying again in %.1f s", failed.error, failed.pause)

        bearings = await retried(compare, growing(0.2, 5.0), on_failure=report_failure)
        if bearings.replaced:
            reason = "; ".join(sorted(bearings.replaced.values())[:3])
            epoch = await self._ledger.begin_epoch([(p.topic, p.partition) for p in bearings.replaced], reason)
            _log.error("ANOTHER LOG (epoch %d): %d partition(s) are read from the beginning: %s", epoch, len(bearings.replaced), reason)
        gaps: list[Gap] = []
        for partition in assigned:
            offset = 0 if partition in bearings.replaced else offsets.get((partition.topic, partition.partition), (0, ""))[0]
            if 0 < offset < bearings.starts[partition]:
                gaps.append(Gap(partition.topic, partition.partition, offset, bearings.starts[partition]))
            start = max(offset, bearings.starts[partition])
            consumer.seek(partition, start)
            self._next[partition] = start
            self._ends[partition] = bearings.ends[partition]
        await self._lose(gaps)

    async def look_for_gaps(self, records: Sequence[LogRecord]) -> None:
        """Keep what the log deleted before it was read, where `records` do not continue what the ledger holds.

        Call it when the ledger holds all that came before `records`. The consumer goes on at the start of the log by itself when the offset that
        it asks for has been deleted.

        Raises:
            TransientError: Kafka does not answer, or the disk refuses.
        """
        first = {TopicPartition(record.topic, record.partition): record.offset for record in reversed(records)}
        skipped = {partition: offset for partition, offset in first.items() if offset > self._next.get(partition, offset)}
        consumer = self._consumer()
        if not skipped or consumer is None:
            return
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                starts = await consumer.beginning_offsets(list(skipped))
        except (TimeoutError, KafkaError) as error:
            msg = f"Kafka at {self._servers} does not say where {', '.join(sorted({p.topic for p in skipped}))} begins ({error!r})"
            raise TransientError(msg) from error
        # An offset in the middle may never have held a record: markers of transactions have one too.
        await self._lose(
            [Gap(p.topic, p.partition, self._next[p], min(starts[p], offset)) for p, offset in skipped.items() if starts[p] > self._next[p]]
        )

    async def _lose(self, gaps: Sequence[Gap]) -> None:
        """In a compacted topic what was deleted has been replaced by what comes later: nothing is lost."""
        lost = [gap for gap in gaps if not (gap.topic in TOPICS and TOPICS[gap.topic].compacted)]
        for gap in lost:
            _log.error("LOST: %s were deleted before the ledger read them; `csqa ledger losses` tells all", gap)
        if lost:
            await self._ledger.note_losses(lost)

    def advance(self, records: Sequence[LogRecord]) -> None:
        """Count `records` as taken: the ledger holds them."""
        for record in {(record.topic, record.partition): record for record in records}.values():
            partition = TopicPartition(record.topic, record.partition)
            self._next[partition] = record.offset + 1
            self._last_record_ms[partition] = record.timestamp_ms

    @property
    def caught_up(self) -> bool:
        """The ledger holds all that the log held at assignment, and the pairs that follow from it."""
        return self.at_end and not self._ledger.pairs_outstanding

    @property
    def at_end(self) -> bool:
        """Every partition of every topic is held here, and the end offsets seen at assignment are reached."""
        return not self.not_held and all(self._next.get(partition, 0) >= end for partition, end in self._ends.items())

    @property
    def not_held(self) -> list[str]:
        """Partitions that this process does not read, as `csqa.chats[3]`: another member of the group has them, or nobody yet."""
        consumer = self._consumer()
        missing: list[str] = []
        for topic in self._topics:
            partitions = consumer.partitions_for_topic(topic) if consumer is not None else None
            missing += (
                [f"{topic}[{n}]" for n in sorted(partitions or ()) if TopicPartition(topic, n) not in self._next] if partitions else [topic]
            )
        return missing

    @property
    def trouble(self) -> str | None:
        """Why the ledger may lack a part of the log, in words."""
        missing = self.not_held
        if not missing or self._consumer() is None:
            return None
        shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        return f"{shown}: held by another member of the consumer group, or by none yet; nothing is decided on a part of the log. End the other loop, or wait until its session ends"

    def horizon(self) -> datetime:
        """The moment up to which the log has been taken: now, or the last record's time in the partition that lags most."""
        consumer = self._consumer()
        if consumer is None:
            return _LONG_AGO
        lagging = [p for p, position in self._next.items() if (consumer.highwater(p) or 0) > position]
        moment = self._clock()
        # A record's time is its producer's word, and may be none at all.
        seconds = [min(max(self._last_record_ms.get(partition, 0) / 1000, 0.0), moment.timestamp()) for partition in lagging]
        # What lags now came after what was complete before: the moment never goes back.
        self._horizon = max(self._horizon, min([moment, *(datetime.fromtimestamp(second, UTC) for second in seconds)]))
        return self._horizon

    async def committed(self) -> dict[tuple[str, int], int]:
        """Kafka's committed offset of every assigned partition that has one."""
        offsets: dict[tuple[str, int], int] = {}
        consumer = self._consumer()
        if consumer is None:
            return offsets
        async with asyncio.timeout(self._settings.request_timeout_seconds):
            for partition in list(self._next):
                offset = await consumer.committed(partition)
                if offset is not None:
                    offsets[partition.topic, partition.partition] = offset
        return offsets
