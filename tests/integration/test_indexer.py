"""The indexer on a real broker: from a published policy to searchable chunks, whatever happens in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from csqa_loop.bootstrap import build_bus
from csqa_loop.errors import CsqaError
from csqa_loop.events import ChunksWithdrawn, Event, PolicyIndexed, PolicyWithdrawn, topics, wire
from csqa_loop.knowledge.rules.publishing import publication
from csqa_loop.log import KafkaBus, read_to_end
from csqa_loop.settings import KafkaSettings, Settings
from streams.indexer import IndexerStream, create_app
from tests.brokers import Broker
from tests.fakes.encoder import FakeEncoder

WITHIN = 40.0
"""Seconds: a group of a killed member is taken over after its session time-out of 10 s."""


def settings_for(broker: Broker) -> Settings:
    return Settings(kafka=KafkaSettings(servers=broker.servers, request_timeout_seconds=3.0))


@asynccontextmanager
async def bus_of(broker: Broker) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(KafkaSettings(request_timeout_seconds=5.0), broker.servers)
    await bus.ensure_topics()
    yield bus
    await bus.stop()


@asynccontextmanager
async def running(broker: Broker, encoder: FakeEncoder) -> AsyncIterator[IndexerStream]:
    settings = settings_for(broker)
    stream = IndexerStream(settings, encoder, build_bus(settings))
    async with stream.lifespan(stream.app()):
        yield stream


async def chunk_log(broker: Broker, policy_id: str) -> list[Event]:
    settings = settings_for(broker)
    records = [record async for record in read_to_end(broker.servers, settings.kafka, [topics.CHUNKS])]
    return [event for event in (wire.decode(record.topic, record.value) for record in records) if event.key == policy_id]


async def until(broker: Broker, policy_id: str, fits: Callable[[list[Event]], bool]) -> list[Event]:
    found: list[Event] = []
    async with asyncio.timeout(WITHIN):
        while True:
            try:
                found = await chunk_log(broker, policy_id)
            except CsqaError:
                found = []
            if fits(found):
                return found
            await asyncio.sleep(0.1)


def versions(found: list[Event]) -> list[str]:
    return [event.version if isinstance(event, PolicyIndexed) else "-" for event in found]


def unique(name: str) -> str:
    return f"{name}-{uuid4().hex[:8]}"


def now() -> datetime:
    return datetime.now(UTC)


async def produce_raw(broker: Broker, value: bytes, key: bytes, headers: list[tuple[str, bytes]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.servers, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(topics.POLICIES, value, key, headers=headers)
    finally:
        await producer.stop()


async def test_a_policy_is_indexed_changed_and_withdrawn(broker: Broker) -> None:
    name, encoder = unique("returns"), FakeEncoder(unique("fake"))
    first = publication(name, "# Returns\n\n## A\n\n14 days.\n\n## B\n\n30 days.\n", now=now())
    second = publication(name, "# Returns\n\n## A\n\n14 days.\n\n## B\n\n45 days.\n", now=now())
    async with bus_of(broker) as bus, running(broker, encoder):
        await bus.publish(first)
        await until(broker, name, lambda found: versions(found) == [first.version])
        await bus.publish(second)
        found = await until(broker, name, lambda found: len(found) == 2)
        assert versions(found) == [first.version, second.version]
        assert [text for text in encoder.passages if "days" in text].count("Returns > A\n14 days.") == 1, (
            "unchanged text is not encoded again"
        )
        await bus.publish(PolicyWithdrawn(occurred_at=now(), policy_id=name))
        found = await until(broker, name, lambda found: len(found) == 3)
        assert isinstance(found[-1], ChunksWithdrawn)


async def test_bad_records_do_not_touch_their_neighbours(broker: Broker) -> None:
    before, after = (publication(unique("ok"), "# Fees\n\n5 EUR.\n", now=now()) for _ in range(2))
    async with bus_of(broker) as bus:
        await bus.publish(before)
        for value, headers in (
            (b"{", [("content-type", b"application/json")]),
            (b"\xff\xfe", [("content-type", b"\xff\xfe")]),
            (b'{"type": "PolicyPublished"}', []),
        ):
            await produce_raw(broker, value, before.policy_id.encode(), headers)
        await bus.publish(after)
        async with running(broker, FakeEncoder(unique("fake"))):
            await until(broker, before.policy_id, lambda found: versions(found)[-1:] == [before.version])
            await until(broker, after.policy_id, lambda found: versions(found)[-1:] == [after.version])


async def test_a_restart_indexes_only_what_is_left(broker: Broker) -> None:
    encoder = FakeEncoder(unique("fake"))
    done, later = (publication(unique("page"), f"# Page\n\ntext {number}\n", now=now()) for number in range(2))
    async with bus_of(broker) as bus:
        await bus.publish(done)
        async with running(broker, encoder):
            await until(broker, done.policy_id, lambda found: len(found) == 1)
        encoder.passages.clear()
        await bus.publish(later)
        async with running(broker, encoder):
            await until(broker, later.policy_id, lambda found: len(found) == 1)
        assert "Page\ntext 0" not in encoder.passages, "its vector came from the log"
        assert len(await chunk_log(broker, done.policy_id)) == 1
        # Another encoder: every offset is committed, and everything has to be indexed again.
        async with running(broker, FakeEncoder(unique("another"))):
            found = await until(broker, done.policy_id, lambda found: len(found) == 2)
        assert found[-1].encoder.startswith("another")


async def test_an_older_version_after_a_newer_one_in_one_batch_costs_one_indexing(broker: Broker) -> None:
    name, encoder = unique("returns"), FakeEncoder(unique("fake"))
    made = [publication(name, f"# Returns\n\n{number} days for {name}.\n", now=now()) for number in (14, 30, 14)]
    async with bus_of(broker) as bus:
        await bus.publish(*made)
        async with running(broker, encoder):
            found = await until(broker, name, lambda found: bool(found))
    assert versions(found) == [made[0].version], "the last word in the log"
    assert [text for text in encoder.passages if name in text] == [f"Returns\n14 days for {name}."]


async def test_a_broker_that_comes_back_empty_gets_its_chunks_again(mortal_broker: Broker) -> None:
    encoder = FakeEncoder()
    events = [publication(f"page-{number}", f"# Page\n\ntext {number}\n", now=now()) for number in range(6)]
    async with running(mortal_broker, encoder) as stream:
        async with bus_of(mortal_broker) as bus:
            await bus.publish(*events)
            for event in events:
                await until(mortal_broker, event.policy_id, lambda found: len(found) == 1)
        mortal_broker.kill()
        await asyncio.to_thread(mortal_broker.start)
        async with bus_of(mortal_broker) as bus:
            await publish_patiently(bus, events)
            for event in events:
                found = await until(mortal_broker, event.policy_id, lambda found: bool(found))
                assert versions(found)[-1] == event.version
        assert stream.health()["ok"]


async def publish_patiently(bus: KafkaBus, events: list[Event]) -> None:
    async with asyncio.timeout(WITHIN):
        while True:
            try:
                await bus.publish(*events)
            except (CsqaError, KafkaError):
                await asyncio.sleep(0.1)
            else:
                return


async def test_an_indexer_may_start_before_its_broker(mortal_broker: Broker) -> None:
    mortal_broker.kill()
    event = publication("page", "# Page\n\ntext\n", now=now())
    app = create_app(settings_for(mortal_broker), FakeEncoder())
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://indexer") as client:
        async with asyncio.timeout(WITHIN):
            while not (answer := (await client.get("/health"))).json()["trouble"]:
                await asyncio.sleep(0.05)
        assert answer.status_code == 503
        assert mortal_broker.servers in answer.json()["trouble"]
        await asyncio.to_thread(mortal_broker.start)
        async with bus_of(mortal_broker) as bus:
            await bus.publish(event)
            await until(mortal_broker, "page", lambda found: len(found) == 1)
        answer = await client.get("/health")
        assert (answer.status_code, answer.json()["phase"], answer.json()["trouble"]) == (200, "indexing", None)
        assert answer.json()["name"] == "indexer"
