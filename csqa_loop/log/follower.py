"""Following compacted topics: their whole content first, then every change, for as long as the process lives."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from csqa_loop.errors import CsqaError, TransientError
from csqa_loop.log.pace import pace
from csqa_loop.log.reader import Record, bounds_of, open_consumer, partitions_of, to_record
from csqa_loop.retry import growing
from csqa_loop.settings import KafkaSettings

log = logging.getLogger(__name__)
_POLL_SECONDS = 1.0
_BEAT_SECONDS = 5.0
"""Between looks at the cluster's metadata: finds a broker that hangs without closing connections, and new partitions."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_SLICE_SECONDS = 0.004
_LARGE_BYTES = 128 * 1024
"""Taking so much in takes about as long."""


@dataclass(frozen=True, slots=True)
class _Applied:
    """The last record taken from a partition, by which it is recognised after the connection was lost."""

    offset: int
    print_: bytes


class Follower:
    """Calls `apply` for every record of `topics`, from the beginning, in order within a partition, without a consumer group.

    Large records are applied in another thread, one at a time as all others.

    It survives everything a broker does. After a lost connection it compares the last record it took with what the log now holds there;
    where they differ (the broker came back empty or refilled) it reads that partition from the beginning, so `apply` must be idempotent.
    A record that `apply` fails on is logged and skipped.
    """

    def __init__(self, servers: str, settings: KafkaSettings, topics: Sequence[str], apply: Callable[[Record], None]) -> None:
        self._servers = servers
        self._settings = settings
        self._bound = settings.request_timeout_seconds
        self._topics = tuple(topics)
        self._apply = apply
        self._applied: dict[TopicPartition, _Applied] = {}
        self._reached = asyncio.Event()
        self._connected = False
        self._healthy = False
        self._task: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        """Connected; a lost connection shows within a second, a broker that hangs within ten."""
        return self._healthy

    async def start(self) -> None:
        """Begin in the background; a broker that is down is tried again until it answers."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop following. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=2 * self._bound)

    async def caught_up(self, timeout: float) -> bool:  # noqa: ASYNC109 - the caller's bound, as in the standard library's Event users
        """Wait until everything that was in the topics at the first connection is applied; False after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._reached.wait()
        except TimeoutError:
            return False
        return True

    async def _run(self) -> None:
        pauses = growing(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                await self._follow()
            except (CsqaError, KafkaError, OSError, TimeoutError) as error:
                log.warning("following %s: %s; connecting again", ", ".join(self._topics), error or repr(error))
            except Exception:  # a fault of ours or of aiokafka's: a gateway that stopped following would serve old policies for ever
                log.exception("following %s failed; connecting again", ", ".join(self._topics))
            if self._connected:
                pauses = growing(_FIRST_PAUSE, _LONGEST_PAUSE)
            self._connected = self._healthy = False
            await asyncio.sleep(next(pauses))

    async def _follow(self) -> None:
        """Follow over one connection until it fails; raises its error."""
        async with open_consumer(self._servers, self._settings) as consumer:
            lost = _watch_connections(consumer)
            partitions = await self._existing(consumer)
            consumer.assign(partitions)
            starts, ends = await bounds_of(consumer, partitions, self._bound)
            unverified = self._seek(consumer, starts, ends)
            pace(consumer)
            self._connected = self._healthy = True
            beaten = asyncio.get_running_loop().time()
            while True:
                await self._note_progress(consumer, ends)
                batches = await consumer.getmany(timeout_ms=int(_POLL_SECONDS * 1000))
                if lost.is_set():
                    self._healthy = False  # at once: closing the connection takes a while
                    # These records may be from another log than those before: dropped, and read again after comparing.
                    raise TransientError("the connection was lost")
                for partition, batch in batches.items():
                    if partition in unverified:
                        unverified.discard(partition)
                        if not self._continues(partition, batch[0]):
                            await self._restart(consumer, partition)
                            continue
                        batch = batch[1:]  # noqa: PLW2901 - its first record was applied before the connection was lost
                    await self._take(partition, batch)
                if asyncio.get_running_loop().time() - beaten >= _BEAT_SECONDS:
                    if await self._existing(consumer) != partitions:
                        raise TransientError("the partitions have changed")
                    beaten = asyncio.get_running_loop().time()
                await asyncio.sleep(0)  # getmany does not yield while it has data, and `apply` may be slow

    async def _existing(self, consumer: Any) -> list[TopicPartition]:
        partitions = await partitions_of(consumer, self._topics, self._bound)
        missing = set(self._topics) - {partition.topic for partition in partitions}
        if missing:
            raise TransientError(f"no topic {', '.join(sorted(missing))} yet")
        return partitions

    def _seek(self, consumer: Any, starts: dict[TopicPartition, int], ends: dict[TopicPartition, int]) -> set[TopicPartition]:
        """Position every partition. Returned are those whose first record has to be the one that was applied last."""
        unverified = set()
        for partition, start in starts.items():
            applied = self._applied.get(partition)
            if applied is not None and start <= applied.offset < ends[partition]:
                consumer.seek(partition, applied.offset)
                unverified.add(partition)
                continue
            if applied is not None:
                self._forget(partition)
            consumer.seek(partition, start)
        return unverified

    def _continues(self, partition: TopicPartition, raw: Any) -> bool:
        applied = self._applied[partition]
        return bool(raw.offset == applied.offset) and _print(raw) == applied.print_

    async def _restart(self, consumer: Any, partition: TopicPartition) -> None:
        self._forget(partition)
        starts = await consumer.beginning_offsets([partition])
        consumer.seek(partition, starts[partition])

    def _forget(self, partition: TopicPartition) -> None:
        log.warning("%s[%d] is not the log it was; reading it from the beginning", partition.topic, partition.partition)
        del self._applied[partition]

    async def _take(self, partition: TopicPartition, batch: Sequence[Any]) -> None:
        """Whatever else runs on this event loop waits for milliseconds, however many records there are and however large."""
        began = time.monotonic()
        for raw in batch:
            try:
                if len(raw.value or b"") > _LARGE_BYTES:
                    await asyncio.to_thread(self._apply, to_record(raw))
                else:
                    self._apply(to_record(raw))
            except Exception:  # `apply` is the caller's: one record that it cannot take must not stop those after it
                log.exception("%s[%d] offset %d cannot be applied and is skipped", raw.topic, raw.partition, raw.offset)
            self._applied[partition] = _Applied(raw.offset, _print(raw))
            if time.monotonic() - began > _SLICE_SECONDS:
                await asyncio.sleep(0)
                began = time.monotonic()

    async def _note_progress(self, consumer: Any, ends: dict[TopicPartition, int]) -> None:
        """Before the first time the end is reached, a new connection sets a new end: the old log may be gone."""
        if not self._reached.is_set():
            # Positions, not offsets of records: compaction leaves offsets that hold no record.
            async with asyncio.timeout(self._bound):
                reached = [await consumer.position(partition) >= end for partition, end in ends.items()]
            if all(reached):
                self._reached.set()


def _print(raw: Any) -> bytes:
    body = hashlib.blake2b(raw.value or b"", digest_size=16, key=b"")
    body.update(b"%d" % raw.timestamp + (raw.key or b""))
    return body.digest()


def _watch_connections(consumer: Any) -> asyncio.Event:
    """Set once any connection of the consumer broke.

    aiokafka reconnects by itself and goes on at the old offset, also in a log that was emptied and refilled in between. Only its client
    knows that a connection broke, and has no public way to tell.
    """
    lost = asyncio.Event()
    client = consumer._client  # noqa: SLF001
    refresh = client._on_connection_closed  # noqa: SLF001

    def on_close(connection: Any, reason: Any) -> None:
        if reason is not None and reason.name in {"CONNECTION_BROKEN", "CONNECTION_TIMEOUT"}:
            lost.set()
        refresh(connection, reason)

    client._on_connection_closed = on_close  # noqa: SLF001
    return lost
