"""An idle consumer on a real broker: it asks seldom, and the first record after a pause comes at once where the broker wakes its fetch."""

import asyncio
import time
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from csqa_loop.log.admin import _admin
from csqa_loop.log.pace import pace
from csqa_loop.log.reader import open_consumer, partitions_of
from csqa_loop.settings import KafkaSettings
from tests.brokers import Broker

SLOWEST = {"embedded": 1.5, "kafka": 0.4}
"""Seconds, of three: the embedded broker looks for records at halves of a wait of one second."""


async def test_the_first_record_after_a_pause(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csqa_loop.log.pace._BUSY_SECONDS", 0.0)
    topic, settings = f"pause-{uuid4().hex}", KafkaSettings()
    async with _admin(broker.servers, settings) as admin:
        await admin.create_topics([NewTopic(topic, 4, 1)])
    producer = AIOKafkaProducer(bootstrap_servers=broker.servers)
    await producer.start()
    ages = []
    try:
        async with open_consumer(broker.servers, settings) as consumer:
            consumer.assign(await partitions_of(consumer, [topic], 5.0))
            pace(consumer)
            for _ in range(3):
                assert await consumer.getmany() == {}  # idle for a whole wait, so that the next fetch waits long too
                waiting = asyncio.create_task(consumer.getmany(timeout_ms=5000))
                await asyncio.sleep(0.1)
                sent = time.monotonic()
                await producer.send_and_wait(topic, b"x", partition=1)
                assert await waiting
                ages.append(time.monotonic() - sent)
    finally:
        await producer.stop()
    assert max(ages) < SLOWEST[broker.name], ages
