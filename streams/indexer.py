"""The indexer's stream: policies become chunks with vectors.

At least once: a batch is acknowledged when `csqa.chunks` holds what follows from it. Doing it twice changes nothing.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from fastapi import FastAPI
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage

from csqa_loop import bootstrap
from csqa_loop.errors import CsqaError, PermanentError, TransientError
from csqa_loop.events import ChunksWithdrawn, Event, PolicyIndexed, now
from csqa_loop.events.topics import CHUNKS, MAX_RECORD_BYTES, POLICIES
from csqa_loop.events.wire import decode
from csqa_loop.knowledge.encoder import Encoder
from csqa_loop.knowledge.indexing import VectorCache, index_policy
from csqa_loop.knowledge.rules.current import KnowledgeState
from csqa_loop.log import KafkaBus, read_to_end
from csqa_loop.settings import Settings
from streams.raw import undecoded, without_headers
from streams.serving import health_app
from streams.serving import serve as serve_http

_log = logging.getLogger(__name__)
GROUP = "csqa-indexer"
_BATCH_RECORDS = 64
_POLL_MS = 20
_SESSION_MS = 10_000
_JOIN_MS = 3 * _SESSION_MS
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
R = TypeVar("R")


class Assignments(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """Each new assignment may follow a lost log or another member's half-done work: tells that both topics must be read again."""

    def __init__(self) -> None:
        self.partitions: frozenset[int] = frozenset()
        self.new = asyncio.Event()
        self.settled = asyncio.Event()

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Nothing to hand over: what is not acknowledged comes again."""

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """No batch is handled until the state is that of this log."""
        self.partitions = frozenset(partition.partition for partition in assigned)
        self.settled.clear()
        self.new.set()


class IndexerStream:
    """The process: consume, index, publish; reconcile after each assignment."""

    def __init__(self, settings: Settings, encoder: Encoder, bus: KafkaBus) -> None:
        self._settings = settings
        self._encoder = encoder
        self._bus = bus
        self._assignments = Assignments()
        self._working = asyncio.Lock()
        self._state = KnowledgeState()
        self._cache = VectorCache(encoder.name)
        self._read_to: dict[int, int] = {}  # by partition: the last offset that the state knows from reading the whole topic
        self._indexed = 0
        self._trouble: str | None = None
        self._broker = KafkaBroker(
            settings.kafka_servers,
            logger=None,
            # A JoinGroup is answered when all members have joined or were given up: it must outlast a session. Commits have a bound of their own.
            request_timeout_ms=_JOIN_MS,
            # Topics are made by our own rules, with their partitions and compaction.
            allow_auto_create_topics=False,
            graceful_timeout=3.0,
        )
        self._subscriber = self._broker.subscriber(
            POLICIES,
            group_id=GROUP,
            session_timeout_ms=_SESSION_MS,
            rebalance_timeout_ms=_SESSION_MS,
            batch=True,
            # FastStream waits this long once for records and, without any, once more with its eyes closed.
            batch_timeout_ms=_POLL_MS,
            fetch_max_wait_ms=50,
            max_records=_BATCH_RECORDS,
            max_partition_fetch_bytes=MAX_RECORD_BYTES + 64 * 1024,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            listener=self._assignments,
            parser=without_headers,
            decoder=undecoded,
        )
        self._subscriber(self.take)

    async def take(self, message: KafkaMessage) -> None:
        """One batch of raw records. A bad one is named and passed over: the ledger reads the topic too and keeps the dead letter."""
        raw = message.raw_message if isinstance(message.raw_message, tuple) else (message.raw_message,)
        await self._assignments.settled.wait()
        async with self._working:
            touched = {
                event.key: event for event in _decoded(record for record in raw if record.offset > self._read_to.get(record.partition, -1))
            }
            for event in touched.values():  # only a policy's last word needs work
                self._state.take(event)
            await self._until_done(lambda: self._index(touched))
        try:
            async with asyncio.timeout(self._settings.kafka.request_timeout_seconds):
                await message.ack()
        except Exception as error:  # whatever it is: the records come again, and then there is nothing left to do
            _log.warning("policies are indexed, but their offsets are not committed: %r", error)

    async def run(self) -> None:
        """Until cancelled."""
        await self._until_done(self._bus.ensure_topics)
        await self._until_done(self._start_consuming)
        while True:
            await self._assignments.new.wait()
            self._assignments.new.clear()
            async with self._working:
                await self._until_done(self._reconcile)
            if not self._assignments.new.is_set():
                self._assignments.settled.set()

    async def stop(self) -> None:
        """Leave the group and close the connections."""
        await self._broker.stop()
        await self._bus.stop()

    def health(self) -> dict[str, object]:
        """For people and supervisors. A broker that is down is told, and is not this process's fault."""
        running = bool(self._subscriber.running and self._subscriber.consumer is not None)
        return {
            "ok": running,
            "phase": "indexing" if self._assignments.settled.is_set() else "reading" if running else "joining",
            "encoder": self._encoder.name,
            "policies": len(self._state.current),
            "indexed": self._indexed,
            "cached_chunks": len(self._cache),
            "trouble": self._trouble,
        }

    async def _start_consuming(self) -> None:
        try:
            await self._broker.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await self._broker.stop()
            raise TransientError(f"Kafka at {self._settings.kafka_servers} does not let the indexer join: {error!r}") from error

    async def _reconcile(self) -> None:
        """Read both topics and do what is left: whatever was lost between them, it is found here."""
        state, cache = KnowledgeState(), VectorCache(self._encoder.name)
        mine: set[str] = set()
        self._read_to = {}
        async for record in read_to_end(self._settings.kafka_servers, self._settings.kafka, [POLICIES, CHUNKS]):
            for event in _decoded([record]):
                state.take(event)
                cache.take(event)
                if record.topic == POLICIES and record.partition in self._assignments.partitions:
                    mine.add(event.key)
            if record.topic == POLICIES:
                self._read_to[record.partition] = record.offset
        self._state, self._cache = state, cache
        await self._index(sorted(mine))

    async def _index(self, policy_ids: Iterable[str]) -> None:
        events = [event for key in policy_ids if (event := self._state.lacks(key, self._encoder.name))]
        done: list[PolicyIndexed | ChunksWithdrawn] = []
        limit = self._settings.retrieval.chunk_characters
        for number, event in enumerate(events, start=1):
            try:
                done.append(await index_policy(event, self._encoder, self._cache, chunk_characters=limit, now=now()))
            except PermanentError as error:
                _log.error("policy %s is not indexed: %s", event.policy_id, error)
            if len(done) == _PUBLISH_TOGETHER or number == len(events):
                await self._publish(done)
                done = []

    async def _publish(self, events: Sequence[PolicyIndexed | ChunksWithdrawn]) -> None:
        try:
            await self._bus.publish(*events)
        except PermanentError as error:
            if len(events) > 1:
                for event in events:
                    await self._publish([event])
                return
            _log.error("policy %s cannot be searched: %s", events[0].policy_id, error)
        for event in events:
            self._state.take(event)
            self._cache.take(event)
            self._indexed += isinstance(event, PolicyIndexed)

    async def _until_done(self, action: Callable[[], Awaitable[R]]) -> R:
        """Back off and try again, for as long as it takes: nothing is acknowledged meanwhile."""
        pause = _FIRST_PAUSE
        while True:
            try:
                result = await action()
            except TransientError as error:
                self._trouble = str(error)
                _log.warning("%s; trying again in %.1f s", error, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._trouble = None
                return result


_PUBLISH_TOGETHER = 16
"""Few, so that the first document of a large batch does not wait for the last one."""


def _decoded(records: Iterable[Any]) -> Iterable[Event]:
    for record in records:
        try:
            yield decode(record.topic, record.value)
        except CsqaError as error:
            _log.error("skipped record %s[%d]@%d: %s", record.topic, record.partition, record.offset, error)


def create_app(settings: Settings, encoder: Encoder) -> FastAPI:
    """`GET /health`, with the indexer running behind it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        stream = app.state.stream = IndexerStream(settings, encoder, bootstrap.build_bus(settings))
        running = asyncio.create_task(_or_end(stream.run()))
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await stream.stop()

    def health() -> dict[str, object]:
        stream: IndexerStream = app.state.stream
        return stream.health()

    app = health_app("indexer", lifespan, health)
    return app


async def _or_end(work: Awaitable[None]) -> None:
    """An indexer whose work has ended must not look alive."""
    try:
        await work
    except Exception:  # nobody awaits this task before the end: unseen, a fault would leave a process that answers and does nothing
        _log.critical("the indexer stops", exc_info=True)
        os.kill(os.getpid(), signal.SIGTERM)


def serve(settings: Settings) -> None:
    """Run until TERM or INT.

    Raises:
        ConfigurationError: the encoder cannot be loaded.
    """
    serve_http(create_app(settings, bootstrap.build_encoder(settings)), settings.indexer.host, settings.indexer.port)
