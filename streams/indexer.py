"""The indexer: policies become chunks with vectors.

At least once: a batch is acknowledged when `csqa.chunks` holds what follows from it.
"""

import asyncio
import time
from functools import partial

from aiokafka import ConsumerRebalanceListener, TopicPartition
from fastapi import FastAPI
from faststream.kafka import KafkaMessage

from csqa_loop import bootstrap
from csqa_loop.events.topics import POLICIES
from csqa_loop.http.serving import serve as serve_http
from csqa_loop.knowledge.encoder import Encoder
from csqa_loop.knowledge.indexer import Indexer
from csqa_loop.log import KafkaBus
from csqa_loop.settings import Settings
from streams.process import Process, ended
from streams.subscription import Subscription, records_of

GROUP = "csqa-indexer"
_BATCH_RECORDS = 64
_LONG_WORK_SECONDS = 300.0
"""Many long documents on a slow machine take minutes."""


class Assignments(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """Each new assignment may follow a lost log or another member's half-done work: notes that both topics must be read again."""

    def __init__(self) -> None:
        self.partitions: frozenset[int] = frozenset()
        self.new = asyncio.Event()
        self.settled = asyncio.Event()

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Do nothing: records that are not acknowledged come again."""

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """No batch is handled until the state is that of this log."""
        self.partitions = frozenset(partition.partition for partition in assigned)
        self.settled.clear()
        self.new.set()


class IndexerStream(Process):
    """Consume, index, publish; reconcile after each assignment."""

    name = "indexer"

    def __init__(self, settings: Settings, encoder: Encoder, bus: KafkaBus) -> None:
        super().__init__()
        self._bus = bus
        self._indexer = Indexer(settings, encoder, bus)
        self._working = asyncio.Lock()
        self._began: float | None = None
        self.assignments = Assignments()
        self.subscription = Subscription(
            self, settings, GROUP, [POLICIES], self.take, most_records=_BATCH_RECORDS, listener=self.assignments
        )

    async def take(self, message: KafkaMessage) -> None:
        """One batch. A bad record in it is passed over: the ledger reads the topic too and keeps the dead letter."""
        await self.assignments.settled.wait()
        async with self._working:
            events = self._indexer.news(records_of(message))
            self._began = time.monotonic()
            await self.until_answered(partial(self._indexer.take, events), "indexing policies")
            self._began = None
        await self.subscription.acknowledge(message)

    async def run(self) -> None:
        """Join, then read both topics again with every assignment."""
        await self.until_answered(self._bus.ensure_topics, "creating topics")
        await self.until_answered(self.subscription.join, "joining the consumer group")
        while True:
            await self.assignments.new.wait()
            self.assignments.new.clear()
            async with self._working:
                await self.until_answered(lambda: self._indexer.reconcile(self.assignments.partitions), "reading policies and chunks")
            if not self.assignments.new.is_set():
                self.assignments.settled.set()

    async def stop(self) -> None:
        """Leave the group, then close the connections."""
        await self.subscription.leave()
        await ended(self._bus.stop())

    def health(self) -> dict[str, object]:
        """Ok while it is a member of its group."""
        joined = self.subscription.joined
        phase = "indexing" if self.assignments.settled.is_set() else "reading" if joined else "joining"
        working = time.monotonic() - self._began if self._began is not None else 0.0
        slow = f"a batch of policies has been in work for {working:.0f} s; does the encoder hang?" if working > _LONG_WORK_SECONDS else None
        dependencies = self.dependencies.seen({"kafka": self.subscription.trouble, "encoder": slow})
        return {"ok": joined, "phase": phase, "trouble": self.trouble, "dependencies": dependencies, **self._indexer.figures()}


def create_app(settings: Settings, encoder: Encoder) -> FastAPI:
    """`GET /health`, with the indexer running behind it."""
    return IndexerStream(settings, encoder, bootstrap.build_bus(settings)).app()


def serve(settings: Settings) -> None:
    """Run until TERM or INT.

    Raises:
        ConfigurationError: the encoder cannot be loaded.
    """
    serve_http(create_app(settings, bootstrap.build_encoder(settings)), settings.indexer.host, settings.indexer.port)
