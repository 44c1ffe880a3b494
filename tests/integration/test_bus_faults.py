"""Publishing while the broker is down, hangs, crashes or has lost its topics: bounded, and told."""

import asyncio
import contextlib
import os
import signal
import time
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from csqa_loop.errors import TransientError
from csqa_loop.events import BadCaseReported, PolicyWithdrawn, now, topics
from csqa_loop.events.topics import TOPICS, Topic
from csqa_loop.events.wire import decode
from csqa_loop.log import KafkaBus, read_to_end
from csqa_loop.log.admin import _admin, ensure_topics
from csqa_loop.settings import KafkaSettings
from tests.brokers import Broker
from tests.waiting import eventually

BOUND = 1.5
QUICK = KafkaSettings(request_timeout_seconds=BOUND)
SLACK = 1.0


def withdrawn(policy_id: str = "p") -> PolicyWithdrawn:
    return PolicyWithdrawn(policy_id=policy_id, occurred_at=now())


async def test_start_names_the_broker_that_does_not_answer() -> None:
    bus = KafkaBus(QUICK, "127.0.0.1:1")
    begun = time.monotonic()
    with pytest.raises(TransientError, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
        await bus.start()
    assert time.monotonic() - begun < BOUND + SLACK
    await bus.stop()


async def test_publish_and_stop_are_bounded_while_the_broker_is_down(mortal_broker: Broker) -> None:
    bus = KafkaBus(QUICK, mortal_broker.servers)
    await bus.start()
    await bus.publish(withdrawn())
    mortal_broker.kill()
    for call in (lambda: bus.publish(withdrawn()), lambda: asyncio.gather(*(bus.publish(withdrawn()) for _ in range(20)))):
        begun = time.monotonic()
        with pytest.raises(TransientError, match="did not acknowledge"):
            await call()
        assert time.monotonic() - begun < BOUND + SLACK
    begun = time.monotonic()
    await bus.stop()
    assert time.monotonic() - begun < 2 * BOUND + SLACK


async def test_a_broker_that_hangs_is_as_good_as_down(mortal_broker: Broker) -> None:
    bus = KafkaBus(QUICK, mortal_broker.servers)
    await bus.start()
    await bus.publish(withdrawn())
    assert mortal_broker._process is not None
    os.kill(mortal_broker._process.pid, signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(TransientError):
        await bus.publish(withdrawn())
    assert time.monotonic() - begun < BOUND + SLACK
    os.kill(mortal_broker._process.pid, signal.SIGCONT)
    await bus.publish(withdrawn())
    await bus.stop()


async def test_a_bus_that_never_started_publishes_once_the_broker_is_there(mortal_broker: Broker) -> None:
    mortal_broker.kill()
    bus = KafkaBus(QUICK, mortal_broker.servers)
    with pytest.raises(TransientError):
        await bus.publish(withdrawn())
    await asyncio.to_thread(mortal_broker.start)
    event = withdrawn()
    await bus.publish(event)
    [record] = [record async for record in read_to_end(mortal_broker.servers, QUICK, [topics.POLICIES])]
    assert decode(record.topic, record.value) == event
    await bus.stop()
    with pytest.raises(TransientError, match="stopping"):
        await bus.publish(event)


async def test_an_idempotent_producer_survives_a_crash_and_doubles_nothing(mortal_kafka: Broker) -> None:
    """Everything acknowledged is in the log exactly once, whatever happened to the connection."""
    settings = KafkaSettings(request_timeout_seconds=4.0)
    bus = KafkaBus(settings, mortal_kafka.servers)
    await bus.start()
    await bus.ensure_topics()
    acknowledged, refused = [], []
    ended = asyncio.Event()

    async def writer(number: int) -> None:
        while not ended.is_set():
            event = withdrawn(f"p{number}")
            try:
                await bus.publish(event)
            except TransientError:
                refused.append(event.event_id)
            else:
                acknowledged.append(event.event_id)

    writers = [asyncio.create_task(writer(number)) for number in range(8)]
    await eventually(lambda: len(acknowledged) > 200, "records flow")
    mortal_kafka.kill()
    await asyncio.to_thread(mortal_kafka.start)
    before = len(acknowledged)
    await eventually(lambda: len(acknowledged) > before + 200, "records flow again", 40)
    ended.set()
    await asyncio.gather(*writers)
    await bus.stop()
    written = [
        decode(record.topic, record.value).event_id async for record in read_to_end(mortal_kafka.servers, settings, [topics.POLICIES])
    ]
    assert set(acknowledged) <= set(written)
    assert set(written) <= set(acknowledged) | set(refused)
    assert len(written) == len(set(written))


async def test_topics_lost_with_a_disk_are_restored_by_who_meets_that_first(kafka_broker: Broker) -> None:
    settings = KafkaSettings(request_timeout_seconds=2.0)
    bus = KafkaBus(settings, kafka_broker.servers)
    await bus.start()
    await bus.ensure_topics()
    async with _admin(kafka_broker.servers, settings) as admin:
        response = await admin.delete_topics([topics.BAD_CASES])
        assert [code for _, code in response.topic_error_codes] == [0]
        async with asyncio.timeout(20):
            while topics.BAD_CASES in {topic["topic"] for topic in await admin.describe_topics()}:
                await asyncio.sleep(0.05)
    event = BadCaseReported(conversation_id="c", message_id="m", reason="wrong", reviewer="r", occurred_at=now())
    with pytest.raises(TransientError, match=topics.BAD_CASES):
        await bus.publish(event)
    await eventually(lambda: not bus._ensuring, "topics are ensured")
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(TransientError):
                await bus.publish(event)
                break
    async with _admin(kafka_broker.servers, settings) as admin:
        names = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    assert names[topics.BAD_CASES] == TOPICS[topics.BAD_CASES].partitions
    await bus.stop()


async def test_ensured_topics_are_as_declared_and_ensuring_again_is_quiet(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    bus = KafkaBus(KafkaSettings(), broker.servers)
    await bus.ensure_topics()
    caplog.clear()
    await bus.ensure_topics()
    assert not [record for record in caplog.records if record.name.startswith("csqa_loop")]
    async with _admin(broker.servers, KafkaSettings()) as admin:
        found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    assert {name: found[name] for name in TOPICS} == {name: topic.partitions for name, topic in TOPICS.items()}


async def test_a_topic_that_is_not_as_declared_is_named(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    name = f"other-{uuid4()}"
    async with _admin(broker.servers, KafkaSettings()) as admin:
        await admin.create_topics([NewTopic(name, 3, 1, topic_configs={"cleanup.policy": "delete"})])
    caplog.clear()
    await ensure_topics(broker.servers, KafkaSettings(), [Topic(name, key="k", partitions=2, compacted=True)])
    text = "\n".join(caplog.messages)
    assert f"topic {name} has 3 partitions; 2 are expected" in text
    assert f"topic {name} has cleanup.policy=delete; compact is expected" in text


async def test_config_that_a_broker_refuses_does_not_stop_the_start(kafka_broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    name = f"odd-{uuid4()}"

    class Odd(Topic):
        config = {"no.such.property": "1"}  # type: ignore[assignment]  # noqa: RUF012

    caplog.clear()
    await ensure_topics(kafka_broker.servers, KafkaSettings(), [Odd(name, key="k", partitions=2)])
    assert any(name in message and "config" in message for message in caplog.messages)
    async with _admin(kafka_broker.servers, KafkaSettings()) as admin:
        assert name in {topic["topic"] for topic in await admin.describe_topics()}


@pytest.mark.kafka
async def test_a_topic_whose_records_producers_date_is_altered_and_keeps_what_else_was_set(kafka_broker: Broker) -> None:
    name, settings = f"t-{uuid4()}", KafkaSettings()
    async with _admin(kafka_broker.servers, settings) as admin:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs={"retention.ms": "123456789", "cleanup.policy": "delete"})])
        await ensure_topics(kafka_broker.servers, settings, [Topic(name, key="k", partitions=1)])
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    told = {entry[0]: entry[1] for _, _, _, _, entries in answer.resources for entry in entries}
    assert (told["message.timestamp.type"], told["retention.ms"]) == ("LogAppendTime", "123456789")
    producer = AIOKafkaProducer(bootstrap_servers=kafka_broker.servers)
    await producer.start()
    try:
        await producer.send_and_wait(name, b"x", timestamp_ms=1000)
    finally:
        await producer.stop()
    [record] = [record async for record in read_to_end(kafka_broker.servers, settings, [name])]
    assert record.is_stamped
    assert abs(record.timestamp_ms / 1000 - time.time()) < 600
