"""Kafka's retention deletes what the ledger has not read: while no loop runs, and under a running one."""

from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from csqa_loop.events.topics import FEEDBACK
from csqa_loop.http.health import ready
from csqa_loop.ledger.invariants import check
from csqa_loop.log import KafkaBus
from csqa_loop.settings import Settings
from streams.loop import LoopStream
from tests import events as make
from tests.brokers import Broker
from tests.fakes.model_server import FakeModelServer
from tests.loops import quick_settings, running, until, with_bus
from tests.waiting import eventually

pytestmark = [pytest.mark.fault(14, "records deleted before they were read"), pytest.mark.kafka]


@pytest.fixture
def settings(mortal_kafka: Broker, tmp_path: Path) -> Settings:
    return quick_settings(tmp_path, mortal_kafka.servers)


async def thumbs(settings: Settings, first: int, number: int) -> None:
    """About one conversation, so that all lie in one partition."""

    async def work(bus: KafkaBus) -> None:
        same = {"conversation_id": "c-1"}
        await bus.publish(*(make.thumb(n).model_copy(update=same) for n in range(first, first + number)))

    await with_bus(settings, work)


async def delete_up_to(settings: Settings, partition: TopicPartition, offset: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_servers)
    await admin.start()
    try:
        await admin.delete_records({partition: RecordsToDelete(before_offset=offset)})
    finally:
        await admin.close()


def place(stream: LoopStream) -> TopicPartition:
    """Where the thumbs lie."""
    return next(p for p, following in stream.position._next.items() if p.topic == FEEDBACK and following)


def lost(stream: LoopStream) -> list[tuple[object, ...]]:
    health = stream.health()
    losses = health["losses"]
    assert isinstance(losses, list)
    assert ready(health) is not bool(losses)
    return [(loss["topic"], loss["from"], loss["to"], loss["count"]) for loss in losses]


async def test_a_loop_that_comes_too_late_says_what_is_missing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_bus(settings, lambda bus: bus.ensure_topics())
    await thumbs(settings, 1, 3)
    async with running(settings, FakeModelServer(), monkeypatch) as stream:
        await until(stream, lambda s: s["recorded"]["feedback"] == 3, "three thumbs")
        partition = place(stream)
        assert lost(stream) == []
    await thumbs(settings, 4, 6)  # offsets 3 to 8
    await delete_up_to(settings, partition, 7)
    async with running(settings, FakeModelServer(), monkeypatch) as stream:
        await until(stream, lambda s: s["recorded"]["feedback"] == 5, "the two that are left")
        assert lost(stream) == [(FEEDBACK, 3, 6, 4)]
        found = {finding.invariant: finding for finding in await stream.parts.ledger.ask(check)}["I6"]
        assert not found.holds
        assert f"{partition.topic}[{partition.partition}] offsets 3 to 6 (4)" in found.detail
        await stream.parts.ledger.acknowledge_losses("seen")
        assert lost(stream) == []
    async with running(settings, FakeModelServer(), monkeypatch) as stream:
        await until(stream, lambda s: s["recorded"]["feedback"] == 5, "the same again")
        assert lost(stream) == []


async def test_a_running_loop_that_is_overtaken_says_what_is_missing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_bus(settings, lambda bus: bus.ensure_topics())
    await thumbs(settings, 1, 3)
    async with running(settings, FakeModelServer(), monkeypatch) as stream:
        await until(stream, lambda s: s["recorded"]["feedback"] == 3, "three thumbs")
        partition, consumer = place(stream), stream.subscription.consumer
        assert consumer is not None
        consumer.pause(partition)
        # One fetch that was under way before the pause still delivers; the consumer then stands behind it.
        await thumbs(settings, 4, 1)
        await thumbs(settings, 5, 5)
        await delete_up_to(settings, partition, 8)
        taken = stream.position._next[partition]
        consumer.seek(partition, taken)
        consumer.resume(partition)
        await thumbs(settings, 10, 1)  # offset 9
        await eventually(lambda: stream.position._next[partition] == 10, "what is left is taken")
        assert taken in {3, 4}
        assert lost(stream) == [(FEEDBACK, taken, 7, 8 - taken)]
