"""The loop's stream: the log into the ledger, and decisions out of it. One active; a standby waits for the ledger's lock."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from fastapi import FastAPI
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage

from csqa_loop import bootstrap
from csqa_loop.console.app import create_console
from csqa_loop.errors import CsqaError, TransientError
from csqa_loop.events.topics import FACT_TOPICS
from csqa_loop.ledger.facts import Rows
from csqa_loop.ledger.garbage import collect_seldom
from csqa_loop.ledger.position import Position, until_answered
from csqa_loop.ledger.recorder import Recorder
from csqa_loop.ledger.sorting import LONG, Sorter
from csqa_loop.log.reader import to_record
from csqa_loop.log.records import LogRecord
from csqa_loop.rollout.housekeeping import Housekeeper
from csqa_loop.settings import Settings
from streams.raw import undecoded, without_headers
from streams.serving import serve as serve_http

_log = logging.getLogger(__name__)
GROUP = "csqa-loop"
R = TypeVar("R")
_BEAT_SECONDS = 0.5
_STOP_SECONDS = 10.0
_SHORTEST_BEAT_SECONDS = 0.5
_IN_HAND = 2
"""Batches: one being sorted out and one written. What comes meanwhile is the next batch, and the longer it is, the less an event of it costs."""
_LONG_IN_HAND = 6
"""While the log is being caught up batches are as long as they may be; some wait while DuckDB writes a checkpoint."""


class LoopStream:
    """The process: lock, ledger, log, beat."""

    def __init__(self, settings: Settings) -> None:
        self.parts = bootstrap.build_loop(settings, horizon=self._horizon)
        self.position = Position(
            self.parts.ledger,
            self.parts.bus.ensure_topics,
            settings.kafka_servers,
            settings.kafka,
            consumer=lambda: self._subscriber.consumer,
            written=self._written,
        )
        self._sort_out = Sorter(self.parts.secrets.secret, settings.privacy.known)
        # Nobody reads pairs before the log has been caught up, and many at once cost less than a few with every batch.
        self._recorder: Recorder[Rows] = Recorder(lambda rows: self.parts.ledger.take(rows, later=not self.position.at_end))
        self._housekeeper = Housekeeper(self.parts.ledger, self.parts.bus)
        self._phase = "starting"
        self._trouble: str | None = None
        self._writing: asyncio.Task[None] | None = None
        self._in_hand = 0
        self._done = asyncio.Condition()
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
            listener=self.position,
            parser=without_headers,
            decoder=undecoded,
        )
        self._subscriber(self.take)

    def _horizon(self) -> datetime:
        return self.position.horizon()

    async def take(self, message: KafkaMessage) -> None:
        """One batch of raw records, on its way: sorted out beside the batches before it, written after them."""
        raw = message.raw_message if isinstance(message.raw_message, tuple) else (message.raw_message,)
        records = [to_record(record) for record in raw]
        most = _LONG_IN_HAND if len(records) >= LONG else _IN_HAND
        async with self._done:
            await self._done.wait_for(lambda: self._in_hand < most)
            self._in_hand += 1
        if self._writing is not None and self._writing.done():
            self._writing.result()  # raises where the loop is stopping
        self._writing = asyncio.create_task(self._see_through(records, self._writing))

    async def _see_through(self, records: list[LogRecord], before: asyncio.Task[None] | None) -> None:
        """At least once: the batch is durable in the ledger before Kafka may forget it."""
        try:
            rows = await self._stop_on_error(self._sort_out(records))
            if before is not None:
                await asyncio.shield(before)  # raises: nothing may be written after a batch that was not
            await self._stop_on_error(self._recorder.record(rows))
        finally:
            async with self._done:
                self._in_hand -= 1
                self._done.notify_all()
        self.position.taken(records)
        # By name: the consumer's own position is already that of a later batch.
        self._uncommitted |= {TopicPartition(mark.topic, mark.partition): mark.next_offset for mark in rows.marks}
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
        except Exception:  # what is foreseen was handled before; after anything else, going on would skip these records
            # The supervisor starts the loop again at the ledger's offsets.
            _log.critical("a batch could not be taken; the loop stops", exc_info=True)
            os.kill(os.getpid(), signal.SIGTERM)
            raise

    async def run(self) -> None:
        """Everything between start and stop."""
        parts = self.parts
        self._phase = "standby"
        await parts.ledger.wait_for_lock()
        self._phase = "opening"
        await until_answered(parts.ledger.open, "opening the ledger")
        await until_answered(parts.bus.ensure_topics, "creating topics")
        self._phase = "reading"
        await until_answered(self._start_consuming, "joining the consumer group")
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
        seen = 0
        while True:
            # What came while the last beat was at work, or slept, is no reason to wait.
            await first_of(self.parts.ledger.next_batch(seen, _BEAT_SECONDS), self.parts.reconciler.gained())
            seen = self.parts.ledger.batches
            if not self.position.at_end or self._recorder.trouble:
                self._phase = "reading"
                continue
            try:
                await self.parts.ledger.derive()
                self._phase = "deciding"
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
                if self.position.caught_up:  # half of a log tells analysts nothing, and copying it slows down reading the other half
                    await self.parts.analytics.beat()
            except CsqaError as error:
                self._trouble = str(error)
                _log.warning("analytics: %s", error)
            await asyncio.sleep(self.parts.settings.analytics.every_seconds)

    async def stop(self) -> None:
        """Leave the group, then let go of the ledger."""
        await _quietly(self._broker.stop())
        await _quietly(self._written())
        await _quietly(self._sort_out.close())
        if self._phase in {"reading", "deciding"}:
            await _quietly(self.parts.analytics.beat(last=True))
        await self.parts.close()

    def health(self) -> dict[str, object]:
        """For people and supervisors. A standby is healthy."""
        trouble = self._recorder.trouble or self._trouble
        return {"ok": self._recorder.trouble is None, "phase": self._phase, "caught_up": self.position.caught_up, "trouble": trouble}


async def first_of(*waits: Coroutine[Any, Any, None]) -> None:
    """Return as soon as one of them has; the others end."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _quietly(stopping: Coroutine[Any, Any, None]) -> None:
    """See a stop through, within a bound. With its broker gone aiokafka raises a CancelledError that nobody asked for."""
    stopped = asyncio.ensure_future(stopping)
    await asyncio.wait({stopped}, timeout=_STOP_SECONDS)
    if not stopped.done():
        stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)


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

    return create_console(stream.parts.console, stream.position, stream.health, lifespan)


async def _or_stop(work: Coroutine[Any, Any, None]) -> None:
    """A loop whose work has ended must not look alive."""
    try:
        await work
    except asyncio.CancelledError:
        raise
    except Exception:  # nobody awaits this task before the end: unseen, a fault would leave a process that answers and does nothing
        _log.critical("the loop stops", exc_info=True)
        os.kill(os.getpid(), signal.SIGTERM)


def serve(settings: Settings) -> None:
    """Run until TERM or INT."""
    collect_seldom()
    serve_http(create_app(settings), settings.console.host, settings.console.port)
