"""Reading the log without a consumer group."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from csqa_loop.errors import TransientError
from csqa_loop.events.topics import MAX_RECORD_BYTES
from csqa_loop.log.headers import read_any_headers
from csqa_loop.log.records import CARRIED, LogRecord
from csqa_loop.settings import KafkaSettings

log = logging.getLogger(__name__)
_POLL_MS = 500
_FETCH_WAIT_MS = 50
"""The embedded broker looks for new records at halves of this wait instead of waking up for them: 500 ms, the default, is its latency."""
_STALLED_AFTER = 3
"""Request time-outs without one record before a reader gives up."""
_LOG_APPEND_TIME = 1
_MOST_DIGITS = 18
"""Of a header's number, so that it fits 64 bits."""


Record = LogRecord


def to_record(raw: Any) -> Record:
    """From aiokafka's ConsumerRecord."""
    carried = _carried(raw.headers) if raw.headers else None
    return Record(raw.topic, raw.partition, raw.offset, raw.key, raw.value, raw.timestamp, raw.timestamp_type == _LOG_APPEND_TIME, carried)


def _carried(headers: Iterable[tuple[str, bytes]]) -> int | None:
    for name, value in headers:
        if name == CARRIED and value and len(value) <= _MOST_DIGITS and value.isdigit():
            return int(value)
    return None


@asynccontextmanager
async def open_consumer(servers: str, settings: KafkaSettings) -> AsyncIterator[Any]:
    """A started AIOKafkaConsumer without a group and without topics.

    Raises:
        TransientError: Kafka does not answer within the bound, here or while the consumer is used.
    """
    bound = settings.request_timeout_seconds
    read_any_headers()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=MAX_RECORD_BYTES + 64 * 1024,
        fetch_max_wait_ms=_FETCH_WAIT_MS,
        request_timeout_ms=int(bound * 1000),
        max_poll_records=settings.batch_records,
    )
    try:
        async with asyncio.timeout(bound):
            await consumer.start()
        yield consumer
    except (TimeoutError, KafkaError, OSError) as error:
        raise TransientError(f"Kafka at {servers} does not answer within {bound:g} s ({error!r})") from error
    finally:
        await _stop(consumer, bound)


async def _stop(consumer: Any, bound: float) -> None:
    # In tasks of their own: with the broker gone, aiokafka's stop ends in a CancelledError although nothing was cancelled,
    # and leaves its client trying to connect.
    for closing in (consumer.stop, consumer._client.close):  # noqa: SLF001
        task = asyncio.create_task(closing())
        await asyncio.wait([task], timeout=bound)
        if not task.done():
            task.cancel()
        elif not task.cancelled() and task.exception() is not None:
            log.info("a consumer did not stop in order: %r", task.exception())


async def partitions_of(consumer: Any, topics: Iterable[str], bound: float) -> list[TopicPartition]:
    """All partitions of those `topics` that exist."""
    async with asyncio.timeout(bound):
        # All topics, not these by name: a broker that creates topics by itself would create those that are missing, with its own defaults.
        cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - `consumer.topics()` is this call less the partitions
    return [TopicPartition(topic, partition) for topic in topics for partition in sorted(cluster.partitions_for_topic(topic) or ())]


async def bounds_of(
    consumer: Any, partitions: Sequence[TopicPartition], bound: float
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Start and end offsets of assigned partitions, which are left at an arbitrary position.

    The end is what a fetch says. ListOffsets of the embedded broker answers with the offset after the first record of the last batch.
    """
    starts: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
    ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    filled = [partition for partition in partitions if starts[partition] < ends[partition]]
    for partition in partitions:
        consumer.seek(partition, max(starts[partition], ends[partition] - 1))
    async with asyncio.timeout(bound):
        while any(consumer.highwater(partition) is None for partition in filled):
            await consumer.getmany(timeout_ms=_FETCH_WAIT_MS)
    return starts, ends | {partition: max(ends[partition], consumer.highwater(partition)) for partition in filled}


async def end_offsets(servers: str, settings: KafkaSettings, topics: Sequence[str]) -> dict[tuple[str, int], int]:
    """(topic, partition) -> offset that the next record will get. A topic that does not exist is absent.

    Raises:
        TransientError: Kafka does not answer within the bound.
    """
    async with open_consumer(servers, settings) as consumer:
        partitions = await partitions_of(consumer, topics, settings.request_timeout_seconds)
        if not partitions:
            return {}
        consumer.assign(partitions)
        _, ends = await bounds_of(consumer, partitions, settings.request_timeout_seconds)
    return {(partition.topic, partition.partition): offset for partition, offset in ends.items()}


async def read_one(servers: str, settings: KafkaSettings, topic: str, partition: int, offset: int) -> Record | None:
    """The record at this place; None where the log holds none there any more.

    Raises:
        TransientError: Kafka does not answer within the bound.
    """
    place, bound = TopicPartition(topic, partition), settings.request_timeout_seconds
    async with open_consumer(servers, settings) as consumer:
        if place not in await partitions_of(consumer, [topic], bound):
            return None
        consumer.assign([place])
        starts, ends = await bounds_of(consumer, [place], bound)
        if not starts[place] <= offset < ends[place]:
            return None
        consumer.seek(place, offset)
        async with asyncio.timeout(bound):
            while not (batch := (await consumer.getmany(place, timeout_ms=_POLL_MS, max_records=1)).get(place)):
                pass
    return to_record(batch[0]) if batch[0].offset == offset else None


async def read_to_end(servers: str, settings: KafkaSettings, topics: Sequence[str]) -> AsyncIterator[Record]:
    """All records up to the end offsets at the start; in order within a partition. A topic that does not exist has none.

    Raises:
        TransientError: Kafka does not answer within the bound, or stopped delivering before the end.
    """
    bound = settings.request_timeout_seconds
    loop = asyncio.get_running_loop()
    async with open_consumer(servers, settings) as consumer:
        partitions = await partitions_of(consumer, topics, bound)
        if not partitions:
            return
        consumer.assign(partitions)
        starts, ends = await bounds_of(consumer, partitions, bound)
        for partition in partitions:
            consumer.seek(partition, starts[partition])
        open_partitions = {partition for partition in partitions if starts[partition] < ends[partition]}
        last_batch_at = loop.time()
        while open_partitions:
            batches = await consumer.getmany(*open_partitions, timeout_ms=_POLL_MS)
            for partition, batch in batches.items():
                for raw in batch:
                    if raw.offset < ends[partition]:
                        yield to_record(raw)
            # The position, not the last record's offset: compaction and transaction markers leave offsets that hold no record.
            async with asyncio.timeout(bound):
                open_partitions = {partition for partition in open_partitions if await consumer.position(partition) < ends[partition]}
            if batches:
                last_batch_at = loop.time()
            elif loop.time() - last_batch_at > _STALLED_AFTER * bound:
                waiting = ", ".join(f"{partition.topic}[{partition.partition}]" for partition in sorted(open_partitions))
                raise TransientError(f"Kafka at {servers} stopped delivering {waiting} before the end")
