"""Each consumer of the log lives, whatever a record of its topics holds, and what stands beside it is taken."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, example, given, settings

from csqa_loop.events import ChunksWithdrawn, DeploymentChanged, PolicyIndexed, now
from csqa_loop.events.topics import CHUNKS, DEPLOYMENTS, POLICIES, TRAINING
from csqa_loop.events.wire import decode
from csqa_loop.gateway.deployment import CurrentDeployment
from csqa_loop.knowledge.index import KnowledgeIndex
from csqa_loop.knowledge.indexer import Indexer
from csqa_loop.knowledge.rules.publishing import publication
from csqa_loop.log.follower import Follower
from csqa_loop.log.records import LogRecord
from csqa_loop.settings import KafkaSettings, Settings
from csqa_loop.training.trainer import Trainer
from streams.trainer import TrainerStream
from tests.fakes.bus import MemoryBus
from tests.fakes.encoder import FakeEncoder
from tests.fakes.jobs import FakeLauncher
from tests.odd_records import KEYS, odd_values
from tests.run_directories import NOW, requested

lives = settings(max_examples=150, suppress_health_check=list(HealthCheck))
LONE = rb'{"event_id": "\ud83d"}'


def between(topic: str, value: bytes | None, key: bytes | None, *around: bytes) -> list[LogRecord]:
    values = (around[0], value, *around[1:])
    return [LogRecord(topic, 0, offset, key if offset == 1 else b"returns", one, 0) for offset, one in enumerate(values)]


@lives
@given(odd_values(POLICIES), KEYS)
@example(LONE, None)
async def test_the_indexer(value: bytes | None, key: bytes | None) -> None:
    bus = MemoryBus()
    indexer = Indexer(Settings(), FakeEncoder(), bus)
    first, last = publication("returns", "14 days", now=NOW), publication("fees", "5 EUR", now=NOW)
    await indexer.take(indexer.news(between(POLICIES, value, key, first.to_json(), last.to_json())))
    assert {"returns", "fees"} <= {event.policy_id for event in bus.events if isinstance(event, PolicyIndexed | ChunksWithdrawn)}


async def test_a_text_that_brings_out_a_fault_of_the_indexer_is_named_and_the_others_are_indexed() -> None:
    class Faulty(FakeEncoder):
        async def encode_passages(self, texts):  # type: ignore[no-untyped-def]
            if any("odd" in text for text in texts):
                raise ValueError("not foreseen")
            return await super().encode_passages(texts)

    bus = MemoryBus()
    indexer = Indexer(Settings(), Faulty(), bus)
    await indexer.take([publication("odd", "odd words", now=NOW), publication("fees", "5 EUR", now=NOW)])
    assert [event.policy_id for event in bus.of_type(PolicyIndexed)] == ["fees"]
    assert indexer.figures()["unindexed"] == {"odd": "ValueError: not foreseen"}
    await indexer.take([publication("odd", "even words", now=NOW)])
    assert indexer.figures()["unindexed"] == {}


@lives
@given(odd_values(TRAINING))
@example(LONE)
async def test_the_trainer(tmp_path_factory: Callable[..., Path], value: bytes | None) -> None:
    runs = tmp_path_factory.mktemp("runs")  # type: ignore[attr-defined]
    (runs / "r-1").mkdir()
    launcher = FakeLauncher()
    trainer = Trainer(MemoryBus(), launcher, runs, progress_seconds=0.02, stall_seconds=30.0, clock=now)
    stream = TrainerStream.__new__(TrainerStream)
    stream.trainer = trainer

    class Acknowledged:
        async def acknowledge(self, _: object) -> None: ...

    stream.subscription = Acknowledged()  # type: ignore[assignment]

    class Message:
        raw_message = tuple(map(Raw, between(TRAINING, value, None, requested("r-1", 2**20).to_json())))

    await stream.take(Message())  # type: ignore[arg-type]
    assert trainer.current is not None or launcher.children
    await trainer.close()


class Raw:
    """As aiokafka hands a record over."""

    def __init__(self, record: LogRecord) -> None:
        self.topic, self.partition, self.offset, self.key, self.value, self.timestamp = record[:6]
        self.headers, self.timestamp_type = (), 0


@lives
@given(odd_values(POLICIES, CHUNKS, DEPLOYMENTS), KEYS)
@example((LONE), None)
def test_the_follower_of_a_gateway(value: bytes | None, key: bytes | None) -> None:
    index, deployment = KnowledgeIndex("fake/words", 128), CurrentDeployment()

    def apply(record: LogRecord) -> None:
        deployment.apply(record) if record.topic == DEPLOYMENTS else index.apply(record)

    follower = Follower("", KafkaSettings(), [POLICIES, CHUNKS, DEPLOYMENTS], apply)
    newest = DeploymentChanged(occurred_at=now(), revision=2**31 - 1, champion="base", cause="a test")
    policy = publication("returns", "14 days", now=NOW)
    for topic, around in ((POLICIES, policy.to_json()), (CHUNKS, b""), (DEPLOYMENTS, newest.to_json())):
        records = between(topic, value, key, around, around)
        asyncio.run(follower._take((topic, 0), [Raw(record) for record in records]))  # type: ignore[arg-type]
    assert deployment.current == newest
    assert index._policies.current["returns"].version == policy.version or decode(POLICIES, value)
    index.search(np.ones(128), 3)
