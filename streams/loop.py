"""The loop's stream: the log into the ledger, and decisions out of it. One active; a standby waits for the ledger's lock."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from fastapi import FastAPI
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage

from csqa_loop import bootstrap
from csqa_loop.backends.bus.reader import to_record
from csqa_loop.backends.log_position import Bearings, take_bearings
from csqa_loop.console.app import create_console
from csqa_loop.cycle.publish import Housekeeper
from csqa_loop.cycle.record import Recorder
from csqa_loop.domain.errors import CsqaError, TransientError
from csqa_loop.domain.events import now
from csqa_loop.domain.intake import Batch, LogRecord
from csqa_loop.domain.topics import FACT_TOPICS
from csqa_loop.settings import Settings
from streams.raw import undecoded, without_headers
from streams.serving import serve as serve_http

_log = logging.getLogger(__name__)
GROUP = "csqa-loop"
R = TypeVar("R")
_LONG_AGO = datetime.fromtimestamp(0, UTC)
_BEAT_SECONDS = 1.0
_STOP_SECONDS = 10.0
_SHORTEST_BEAT_SECONDS = 0.5
_GARBAGE_THRESHOLD = 500_000


class Intake(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """Where the ledger stands in the log: seeks to it on assignment, notices another log, knows when it has caught up."""

    def __init__(
        self, parts: bootstrap.LoopParts, consumer: Callable[[], AIOKafkaConsumer | None], written: Callable[[], Awaitable[None]]
    ) -> None:
        self._parts = parts
        self._consumer = consumer
        self._written = written
        self._next: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._heard_ms: dict[TopicPartition, int] = {}
        self._horizon = _LONG_AGO

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Another member takes over; what is in hand is deduplicated there."""
        for partition in revoked:
            self._next.pop(partition, None)
            self._ends.pop(partition, None)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Seek to the ledger's offsets, whatever the group committed."""
        consumer = self._consumer()
        if not assigned or consumer is None:
            return
        settings = self._parts.settings
        await self._written()  # what is being written moves the ledger's offsets
        known = await self._parts.ledger.known_offsets()

        async def compare() -> Bearings:
            await self._parts.bus.ensure_topics()  # a broker that came back empty has none
            return await take_bearings(settings.kafka_servers, settings.kafka, sorted(assigned), known)

        bearings = await _until_answered(compare, "comparing the log with the ledger")
        if bearings.replaced:
            reason = "; ".join(sorted(bearings.replaced.values())[:3])
            epoch = await self._parts.ledger.begin_epoch([(p.topic, p.partition) for p in bearings.replaced], reason)
            _log.error("ANOTHER LOG (epoch %d): %d partition(s) are read from the beginning: %s", epoch, len(bearings.replaced), reason)
        for partition in assigned:
            taken = 0 if partition in bearings.replaced else known.get((partition.topic, partition.partition), (0, ""))[0]
            if 0 < taken < bearings.starts[partition]:
                _log.error(
                    "%s[%d]: offsets %d to %d were deleted before the ledger read them", *partition, taken, bearings.starts[partition] - 1
                )
            start = max(taken, bearings.starts[partition])
            consumer.seek(partition, start)
            self._next[partition] = start
            self._ends[partition] = bearings.ends[partition]

    def taken(self, records: list[LogRecord]) -> None:
        """The ledger holds these."""
        for record in {(record.topic, record.partition): record for record in records}.values():
            partition = TopicPartition(record.topic, record.partition)
            self._next[partition] = record.offset + 1
            self._heard_ms[partition] = record.timestamp_ms

    @property
    def caught_up(self) -> bool:
        """The end offsets seen at assignment are reached."""
        return bool(self._next) and all(self._next.get(partition, 0) >= end for partition, end in self._ends.items())

    def horizon(self) -> datetime:
        """The moment up to which the log has been taken: now, or the last record's time in the partition that lags most."""
        consumer = self._consumer()
        if consumer is None:
            return _LONG_AGO
        lagging = [p for p, position in self._next.items() if (consumer.highwater(p) or 0) > position]
        moments = [datetime.fromtimestamp(self._heard_ms.get(partition, 0) / 1000, UTC) for partition in lagging]
        # What lags now came after what was complete before: the moment never goes back.
        self._horizon = max(self._horizon, min([now(), *moments]))
        return self._horizon

    async def committed(self) -> dict[tuple[str, int], int]:
        """Kafka's committed offset of every assigned partition that has one."""
        found: dict[tuple[str, int], int] = {}
        consumer = self._consumer()
        if consumer is None:
            return found
        async with asyncio.timeout(self._parts.settings.kafka.request_timeout_seconds):
            for partition in list(self._next):
                offset = await consumer.committed(partition)
                if offset is not None:
                    found[partition.topic, partition.partition] = offset
        return found


class LoopStream:
    """The process: lock, ledger, log, beat."""

    def __init__(self, settings: Settings) -> None:
        self.parts = bootstrap.build_loop(settings, horizon=self._horizon)
        self.intake = Intake(self.parts, lambda: self._subscriber.consumer, self._written)
        self._recorder = Recorder(self.parts.ledger.take, self.parts.guard)
        self._housekeeper = Housekeeper(self.parts.ledger, self.parts.bus)
        self._phase = "starting"
        self._trouble: str | None = None
        self._writing: asyncio.Task[None] | None = None
        self._committing: asyncio.Task[None] | None = None
        self._uncommitted: dict[TopicPartition, int] = {}
        self._broker = KafkaBroker(settings.kafka_servers, logger=None, allow_auto_create_topics=False)
        self._subscriber = self._broker.subscriber(
            *FACT_TOPICS,
            group_id=GROUP,
            batch=True,
            batch_timeout_ms=20,
            max_records=settings.kafka.batch_records,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            session_timeout_ms=10_000,
            fetch_max_wait_ms=50,  # the embedded broker does not wake a waiting fetch: this is the latency
            listener=self.intake,
            parser=without_headers,
            decoder=undecoded,
        )
        self._subscriber(self.take)

    def _horizon(self) -> datetime:
        return self.intake.horizon()

    async def take(self, message: KafkaMessage) -> None:
        """One batch of raw records: decoded while the one before it is written, and written after that one is durable."""
        raw = message.raw_message if isinstance(message.raw_message, tuple) else (message.raw_message,)
        records = [to_record(record) for record in raw]
        batch = await self._stop_on_error(self._recorder.sort_out(records))
        if self._writing is not None:
            await asyncio.shield(self._writing)  # raises where the loop is stopping: nothing may be written after a batch that was not
        self._writing = asyncio.create_task(self._write(batch, records))

    async def _write(self, batch: Batch, records: list[LogRecord]) -> None:
        """At least once: the batch is durable in the ledger before Kafka may forget it."""
        await self._stop_on_error(self._recorder.record(batch))
        self.intake.taken(records)
        # By name: the consumer's own position is already that of the batch which is being decoded.
        self._uncommitted |= {TopicPartition(mark.topic, mark.partition): mark.next_offset for mark in batch.marks}
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit())

    async def _commit(self) -> None:
        """Tell Kafka what is durable, beside the writing: the ledger's offsets are the truth, and no batch waits for Kafka's copy."""
        while self._uncommitted and (consumer := self._subscriber.consumer) is not None:
            offsets, self._uncommitted = self._uncommitted, {}
            try:
                async with asyncio.timeout(self.parts.settings.kafka.request_timeout_seconds):
                    await consumer.commit(offsets)
            except Exception as error:  # whatever it is: the next batch's commit says these too
                _log.warning("offsets are in the ledger but not yet in Kafka: %r", error)
                self._uncommitted = offsets | self._uncommitted
                return

    async def _written(self) -> None:
        """Return when no batch is being written."""
        if self._writing is not None:
            await asyncio.wait({self._writing})

    async def _stop_on_error(self, work: Coroutine[Any, Any, R]) -> R:
        try:
            return await work
        except Exception:
            # Not foreseen: going on would skip these records. The supervisor starts the loop again at the ledger's offsets.
            _log.critical("a batch could not be taken; the loop stops", exc_info=True)
            os.kill(os.getpid(), signal.SIGTERM)
            raise

    async def run(self) -> None:
        """Everything between start and stop."""
        parts = self.parts
        self._phase = "standby"
        await parts.ledger.wait_for_lock()
        self._phase = "opening"
        await _until_answered(parts.ledger.open, "opening the ledger")
        await _until_answered(parts.bus.ensure_topics, "creating topics")
        self._phase = "reading"
        await _until_answered(self._start_consuming, "joining the consumer group")
        work = [self._decide(), self._publish_analytics()]
        if self.parts.proposer:
            work.append(self.parts.proposer.run(lambda: self._phase == "deciding"))
        await asyncio.gather(*work)

    async def _start_consuming(self) -> None:
        try:
            await self._broker.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await _quietly(self._broker.stop())
            msg = f"Kafka at {self.parts.settings.kafka_servers} does not let the loop join: {error!r}"
            raise TransientError(msg) from error

    async def _decide(self) -> None:
        while True:
            await self.parts.ledger.next_batch(_BEAT_SECONDS)
            if not self.intake.caught_up or self._recorder.trouble:
                self._phase = "reading"
                continue
            self._phase = "deciding"
            try:
                await self._housekeeper.beat()
                await self.parts.decider.beat()
                self._trouble = None
            except CsqaError as error:
                self._trouble = str(error)
                _log.warning("the next beat tries again: %s", error)
            await asyncio.sleep(_SHORTEST_BEAT_SECONDS)

    async def _publish_analytics(self) -> None:
        while True:
            try:
                if self.intake.caught_up:  # half of a log tells analysts nothing, and copying it slows down reading the other half
                    await self.parts.analytics.beat()
            except CsqaError as error:
                self._trouble = str(error)
                _log.warning("analytics: %s", error)
            await asyncio.sleep(self.parts.settings.analytics.every_seconds)

    async def stop(self) -> None:
        """Leave the group, then let go of the ledger."""
        await _quietly(self._broker.stop())
        await _quietly(self._written())
        if self._phase in {"reading", "deciding"}:
            await _quietly(self.parts.analytics.beat(last=True))
        await self.parts.close()

    def health(self) -> dict[str, object]:
        """For people and supervisors. A standby is healthy."""
        trouble = self._recorder.trouble or self._trouble
        return {"ok": self._recorder.trouble is None, "phase": self._phase, "caught_up": self.intake.caught_up, "trouble": trouble}


async def _quietly(stopping: Coroutine[Any, Any, None]) -> None:
    """See a stop through, within a bound. With its broker gone aiokafka raises a CancelledError that nobody asked for."""
    stopped = asyncio.ensure_future(stopping)
    await asyncio.wait({stopped}, timeout=_STOP_SECONDS)
    if not stopped.done():
        stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)


async def _until_answered(action: Callable[[], Awaitable[R]], what: str) -> R:
    """Try until it works: at a start the broker may still be on its way."""
    pause = 0.2
    while True:
        try:
            return await action()
        except TransientError as error:
            _log.warning("%s: %s; trying again in %.1f s", what, error, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)


def create_app(settings: Settings) -> FastAPI:
    """The operator API with the loop running behind it."""
    stream = LoopStream(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await stream.parts.model_server.start()
        running = asyncio.create_task(_or_stop(stream.run()))
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await stream.stop()

    return create_console(stream.parts, stream.intake, stream.health, lifespan)


async def _or_stop(work: Coroutine[Any, Any, None]) -> None:
    """A loop whose work has ended must not look alive."""
    try:
        await work
    except asyncio.CancelledError:
        raise
    except Exception:
        _log.critical("the loop stops", exc_info=True)
        os.kill(os.getpid(), signal.SIGTERM)


def serve(settings: Settings) -> None:
    """Run until TERM or INT."""
    # A batch is tens of thousands of objects without a cycle: looking for cycles among them takes longer than decoding them.
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD, 10, 10)
    serve_http(create_app(settings), settings.console.host, settings.console.port)
