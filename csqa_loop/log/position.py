"""Where the ledger goes on in the log, and whether it is still the same log."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition

from csqa_loop.log.reader import bounds_of, open_consumer
from csqa_loop.log.records import record_sha
from csqa_loop.settings import KafkaSettings

_log = logging.getLogger(__name__)
_FETCH_SECONDS = 3.0


@dataclass(frozen=True)
class Bearings:
    """The result of comparing the log with the ledger."""

    ends: Mapping[TopicPartition, int]
    starts: Mapping[TopicPartition, int]
    replaced: Mapping[TopicPartition, str]
    """Partitions that hold another log than the one the ledger read, with the difference."""


async def take_bearings(
    servers: str, settings: KafkaSettings, partitions: Sequence[TopicPartition], remembered: Mapping[tuple[str, int], tuple[int, str]]
) -> Bearings:
    """Compare every partition with what the ledger remembers of it (`remembered`: next offset and hash of the last record taken).

    A record that retention or compaction has removed cannot be compared; the log then counts as the same while it is not shorter.

    Raises:
        TransientError: Kafka does not answer within the bound.
    """
    async with open_consumer(servers, settings) as consumer:
        consumer.assign(list(partitions))
        starts, ends = await bounds_of(consumer, list(partitions), settings.request_timeout_seconds)
        replaced: dict[TopicPartition, str] = {}
        comparable: dict[TopicPartition, tuple[int, str]] = {}
        for partition in partitions:
            next_offset, sha = remembered.get((partition.topic, partition.partition), (0, ""))
            if next_offset > ends[partition]:
                replaced[partition] = (
                    f"{partition.topic}[{partition.partition}] ends at {ends[partition]}, the ledger has read up to {next_offset}"
                )
            elif next_offset > starts[partition]:
                comparable[partition] = (next_offset - 1, sha)
        hashes = await _records_at(consumer, comparable)
        for partition, (offset, sha) in comparable.items():
            if partition in hashes and hashes[partition] != sha:
                replaced[partition] = (
                    f"{partition.topic}[{partition.partition}] holds another record at offset {offset} than the ledger read"
                )
    return Bearings(ends=ends, starts=starts, replaced=replaced)


async def _records_at(consumer: object, offsets: Mapping[TopicPartition, tuple[int, str]]) -> dict[TopicPartition, str]:
    """Hash of the record at each wanted offset, where it still exists."""
    hashes: dict[TopicPartition, str] = {}
    waiting = set(offsets)
    if not waiting:
        return hashes
    consumer.assign(list(waiting))  # type: ignore[attr-defined]
    for partition in waiting:
        consumer.seek(partition, offsets[partition][0])  # type: ignore[attr-defined]
    try:
        async with asyncio.timeout(_FETCH_SECONDS + len(offsets) * 0.1):
            while waiting:
                batches = await consumer.getmany(*waiting, timeout_ms=500, max_records=500)  # type: ignore[attr-defined]
                for partition, records in batches.items():
                    first = records[0]
                    if first.offset == offsets[partition][0]:
                        hashes[partition] = record_sha(first.key, first.value)
                    waiting.discard(partition)
    except TimeoutError:
        _log.warning("the last records of %d partition(s) could not be read to compare; taken as the same log", len(waiting))
    return hashes
