"""Following compacted topics across everything that a broker does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewPartitions

from csqa_loop.events import PolicyWithdrawn, now, topics
from csqa_loop.events.topics import Topic
from csqa_loop.log import Follower, KafkaBus, Record, end_offsets, read_to_end
from csqa_loop.log import follower as follower_module
from csqa_loop.log.admin import _admin, ensure_topics
from csqa_loop.settings import KafkaSettings
from tests.brokers import Broker
from tests.waiting import eventually

SETTINGS = KafkaSettings(request_timeout_seconds=4.0)


class Seen:
    """What was applied, in order; refuses values that start with `poison`."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def __call__(self, record: Record) -> None:
        if record.key == b"poison":
            raise ValueError("cannot be applied")
        self.records.append(record)

    @property
    def keys(self) -> list[str]:
        return [record.key.decode() for record in self.records if record.key]


@asynccontextmanager
async def following(broker: Broker, apply: Callable[[Record], None], names: list[str] | None = None) -> AsyncIterator[Follower]:
    follower = Follower(broker.servers, SETTINGS, names or [topics.POLICIES], apply)
    await follower.start()
    try:
        yield follower
    finally:
        await follower.stop()


@asynccontextmanager
async def publishing(broker: Broker) -> AsyncIterator[Callable[..., object]]:
    """A bus of its own, so that no test leans on how another client reconnects."""
    bus = KafkaBus(SETTINGS, broker.servers)
    await bus.start()
    await bus.ensure_topics()

    async def publish(*keys: str) -> None:
        await bus.publish(*(PolicyWithdrawn(policy_id=key, occurred_at=now()) for key in keys))

    yield publish
    await bus.stop()


def some_keys(count: int) -> list[str]:
    mark = uuid4().hex[:8]
    return [f"{mark}-{number}" for number in range(count)]


async def test_content_first_then_every_change(broker: Broker) -> None:
    before, after = some_keys(30), some_keys(5)
    seen = Seen()
    async with publishing(broker) as publish:
        await publish(*before)
        async with following(broker, seen) as follower:
            assert await follower.caught_up(10)
            assert follower.healthy
            assert set(before) <= set(seen.keys)
            for key in after:
                await publish(key)
                await eventually(lambda key=key: key in seen.keys, f"{key} is applied")
    assert len(seen.records) == len({(record.partition, record.offset) for record in seen.records})


async def test_order_within_a_partition_and_nothing_twice(broker: Broker) -> None:
    keys = some_keys(4) * 25
    seen = Seen()
    async with publishing(broker) as publish:
        await publish(*keys)
        async with following(broker, seen) as follower:
            assert await follower.caught_up(10)
    for partition in {record.partition for record in seen.records}:
        offsets = [record.offset for record in seen.records if record.partition == partition]
        assert offsets == sorted(set(offsets))
    assert len([key for key in seen.keys if key in keys]) == len(keys)


async def test_a_record_that_cannot_be_applied_is_logged_and_skipped(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    first, last = some_keys(2)
    seen = Seen()
    async with publishing(broker) as publish:
        await publish(first, "poison", last)
        async with following(broker, seen) as follower:
            assert await follower.caught_up(10)
            assert follower.healthy
    assert {first, last} <= set(seen.keys)
    assert any("cannot be applied" in message and topics.POLICIES in message for message in caplog.messages)


async def test_not_caught_up_while_there_is_no_broker() -> None:
    follower = Follower("127.0.0.1:1", SETTINGS, [topics.POLICIES], Seen())
    await follower.start()
    assert not await follower.caught_up(0.3)
    assert not follower.healthy
    await asyncio.wait_for(follower.stop(), 5)


async def test_a_broker_that_comes_up_later_is_found(mortal_broker: Broker) -> None:
    mortal_broker.kill()
    seen = Seen()
    async with following(mortal_broker, seen) as follower:
        assert not await follower.caught_up(0.3)
        await asyncio.to_thread(mortal_broker.start)
        async with publishing(mortal_broker) as publish:
            assert await follower.caught_up(15)
            await publish("k")
            await eventually(lambda: "k" in seen.keys, "the record is applied")
            assert follower.healthy


async def test_health_is_lost_with_the_broker(mortal_broker: Broker) -> None:
    async with publishing(mortal_broker), following(mortal_broker, Seen()) as follower:
        assert await follower.caught_up(10)
        mortal_broker.kill()
        await eventually(lambda: not follower.healthy, "the follower notices", 5)


@pytest.mark.parametrize("refill", [1, 3, 40])
async def test_a_broker_that_comes_back_with_another_log_is_read_from_the_beginning(mortal_broker: Broker, refill: int) -> None:
    """Shorter than before, as long, and longer: then only comparing the last record tells."""
    seen = Seen()
    async with following(mortal_broker, seen) as follower:
        async with publishing(mortal_broker) as publish:
            await publish("same", "same", "same")
            await eventually(lambda: len(seen.records) == 3, "the first log is applied")
        mortal_broker.kill()
        await asyncio.to_thread(mortal_broker.start)
        async with publishing(mortal_broker) as publish:
            await publish(*(["same"] * refill))
            in_log = [record async for record in read_to_end(mortal_broker.servers, SETTINGS, [topics.POLICIES])]
            assert len(in_log) == refill
            await eventually(lambda: seen.records[3:] == in_log, "the second log is applied, each record once, from its beginning")
        assert follower.healthy


async def test_a_durable_log_goes_on_where_it_was_after_a_crash(mortal_kafka: Broker) -> None:
    seen = Seen()
    keys, more = some_keys(20), some_keys(20)
    async with publishing(mortal_kafka) as publish, following(mortal_kafka, seen) as follower:
        await publish(*keys)
        await eventually(lambda: len(seen.records) == len(keys), "all are applied")
        mortal_kafka.kill()
        await eventually(lambda: not follower.healthy, "the follower notices")
        await asyncio.to_thread(mortal_kafka.start)
        await eventually(lambda: follower.healthy, "the follower is back", 30)
        await publish(*more)
        await eventually(lambda: set(more) <= set(seen.keys), "the rest is applied", 30)
    assert sorted(seen.keys) == sorted(keys + more)


async def test_compaction_holes_keep_nobody_waiting(kafka_broker: Broker) -> None:
    """Compaction removes records, also before the end offset: the end is reached all the same."""
    name = f"holes-{uuid4()}"
    eager = {
        "segment.ms": "200",
        "min.cleanable.dirty.ratio": "0.01",
        "min.compaction.lag.ms": "0",
        "max.compaction.lag.ms": "300",
        "cleanup.policy": "compact",
    }

    class Eager(Topic):
        config = eager  # type: ignore[assignment]

    await ensure_topics(kafka_broker.servers, SETTINGS, [Eager(name, key="k", partitions=1, compacted=True)])
    producer = AIOKafkaProducer(bootstrap_servers=kafka_broker.servers, acks="all")
    await producer.start()
    sent = 0
    try:
        async with asyncio.timeout(60):
            while True:
                for _ in range(20):
                    sent += 1
                    await producer.send_and_wait(name, b"%d" % sent, b"one key")
                await asyncio.sleep(0.5)  # segments roll by age
                kept = [record async for record in read_to_end(kafka_broker.servers, SETTINGS, [name])]
                if len(kept) < sent:
                    break
    finally:
        await producer.stop()
    assert kept[-1].value == b"%d" % sent
    assert await end_offsets(kafka_broker.servers, SETTINGS, [name]) == {(name, 0): sent}
    seen = Seen()
    async with following(kafka_broker, seen, [name]) as follower:
        assert await follower.caught_up(10)
    assert seen.records[-1].value == b"%d" % sent


async def test_end_offsets_count_every_record_of_the_last_batch(broker: Broker) -> None:
    name = f"ends-{uuid4()}"
    await ensure_topics(broker.servers, SETTINGS, [Topic(name, key="k", partitions=2)])
    assert await end_offsets(broker.servers, SETTINGS, [name, "no-such-topic"]) == {(name, 0): 0, (name, 1): 0}
    producer = AIOKafkaProducer(bootstrap_servers=broker.servers, acks="all", linger_ms=20)
    await producer.start()
    await asyncio.gather(*[await producer.send(name, b"%d" % number, partition=0) for number in range(7)])
    await producer.stop()
    assert await end_offsets(broker.servers, SETTINGS, [name]) == {(name, 0): 7, (name, 1): 0}
    assert len([record async for record in read_to_end(broker.servers, SETTINGS, [name])]) == 7


async def test_looking_at_a_topic_that_does_not_exist_creates_nothing(broker: Broker) -> None:
    name = f"absent-{uuid4()}"
    assert await end_offsets(broker.servers, SETTINGS, [name]) == {}
    assert [record async for record in read_to_end(broker.servers, SETTINGS, [name])] == []
    async with following(broker, Seen(), [name]) as follower:
        assert not await follower.caught_up(0.5)
    async with _admin(broker.servers, SETTINGS) as admin:
        assert name not in {topic["topic"] for topic in await admin.describe_topics()}


async def test_partitions_that_are_added_are_followed(kafka_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also how a follower meets a topic that was made again with other partitions. The embedded broker cannot add any."""
    monkeypatch.setattr(follower_module, "_BEAT_SECONDS", 0.2)
    name = f"grows-{uuid4()}"
    await ensure_topics(kafka_broker.servers, SETTINGS, [Topic(name, key="k", partitions=1)])
    seen = Seen()
    async with following(kafka_broker, seen, [name]) as follower:
        assert await follower.caught_up(10)
        async with _admin(kafka_broker.servers, SETTINGS) as admin:
            await admin.create_partitions({name: NewPartitions(3)})
        producer = AIOKafkaProducer(bootstrap_servers=kafka_broker.servers, acks="all", metadata_max_age_ms=200)
        await producer.start()
        try:
            async with asyncio.timeout(20):
                while len(await producer.partitions_for(name)) < 3:
                    await asyncio.sleep(0.05)
            await producer.send_and_wait(name, b"new", b"key", partition=2)
        finally:
            await producer.stop()
        await eventually(lambda: [record.partition for record in seen.records] == [2], "the new partition is followed")
