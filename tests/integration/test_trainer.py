"""The trainer on a real broker: from a request in the log to results in the log."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI

from csqa_loop.errors import CsqaError
from csqa_loop.events import AdapterEvaluated, AdapterTrained, Event, TrainingRequested, topics, wire
from csqa_loop.log import KafkaBus, read_to_end
from csqa_loop.settings import KafkaSettings, Settings
from csqa_loop.training.trainer import Trainer
from streams.trainer import TrainerStream
from tests.brokers import Broker
from tests.fakes.jobs import FakeLauncher
from tests.run_directories import requested
from tests.waiting import eventually

WITHIN = 60.0


@asynccontextmanager
async def running(settings: Settings, launcher: FakeLauncher) -> AsyncIterator[tuple[TrainerStream, FastAPI]]:
    stream = TrainerStream(settings)
    stream.trainer = Trainer(stream.bus, launcher, settings.runs, progress_seconds=0.5, stall_seconds=60.0, clock=lambda: datetime.now(UTC))
    app = stream.app()
    async with app.router.lifespan_context(app):
        yield stream, app


async def results(settings: Settings) -> list[Event]:
    records = [record async for record in read_to_end(settings.kafka_servers, settings.kafka, [topics.TRAINING])]
    return [wire.decode(record.topic, record.value) for record in records if (record.value or b"").startswith(b"{")]


async def until_evaluated(settings: Settings, run_id: str) -> list[Event]:
    async with asyncio.timeout(WITHIN):
        while True:
            try:
                found = await results(settings)
            except CsqaError:
                found = []
            if any(isinstance(event, AdapterEvaluated) and event.run_id == run_id for event in found):
                return found
            await asyncio.sleep(0.1)


async def test_a_request_before_and_after_a_restart_is_worked_once(mortal_broker: Broker, tmp_path: Path) -> None:
    settings = Settings(var=tmp_path, kafka=KafkaSettings(servers=mortal_broker.servers, request_timeout_seconds=3.0))
    for run_id in ("r-1", "r-2"):
        (settings.runs / run_id).mkdir(parents=True)
    bus = KafkaBus(settings.kafka, mortal_broker.servers)
    await bus.ensure_topics()
    producer = AIOKafkaProducer(bootstrap_servers=mortal_broker.servers)
    await producer.start()
    await producer.send_and_wait(topics.TRAINING, b"no event", key=b"r-0")  # its neighbours are handled all the same
    await producer.stop()
    await bus.publish(requested("r-1"))

    launcher = FakeLauncher()
    async with running(settings, launcher) as (stream, app):
        child = await launcher.child(0, WITHIN)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trainer") as client:
            health = await client.get("/health")
        assert health.status_code == 200
        assert health.json()["run"]["run_id"] == "r-1"
        child.succeed()
        (await launcher.child(1, WITHIN)).succeed()
        found = await until_evaluated(settings, "r-1")
        assert len([event for event in found if isinstance(event, AdapterTrained)]) == 1
        await eventually(lambda: stream.trainer.current is None, "the run in hand has its result")

    await bus.publish(requested("r-2"))
    async with running(settings, launcher):
        (await launcher.child(2, WITHIN)).succeed()
        (await launcher.child(3, WITHIN)).succeed()
        await until_evaluated(settings, "r-2")
    assert [child.run.path.name for child in launcher.children] == ["r-1", "r-1", "r-2", "r-2"]
    await bus.stop()


async def test_a_request_that_failed_in_a_way_nobody_foresaw_comes_again_with_those_after_it(
    mortal_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(var=tmp_path, kafka=KafkaSettings(servers=mortal_broker.servers, request_timeout_seconds=3.0))
    signals: list[int] = []
    monkeypatch.setattr("os.kill", lambda _, number: signals.append(number))
    taken: list[str] = []

    async def broken(event: TrainingRequested) -> None:
        taken.append(event.run_id)
        if event.run_id == "r-2":
            raise ValueError("not foreseen")

    async def well(event: TrainingRequested) -> None:
        taken.append(event.run_id)

    bus = KafkaBus(settings.kafka, mortal_broker.servers)
    await bus.ensure_topics()
    # The requests of one run lie in one partition.
    await bus.publish(*(requested("r-1", attempt=attempt) for attempt in (1, 2)), requested("r-2"), requested("r-2", attempt=2))
    stream = TrainerStream(settings)
    monkeypatch.setattr(stream.trainer, "take", broken)
    async with stream.lifespan(stream.app()), asyncio.timeout(WITHIN):
        while not signals:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
    assert taken.count("r-2") == 1, "nothing is taken after it"
    taken.clear()
    stream = TrainerStream(settings)
    monkeypatch.setattr(stream.trainer, "take", well)
    async with stream.lifespan(stream.app()), asyncio.timeout(WITHIN):
        while taken.count("r-2") < 2:
            await asyncio.sleep(0.05)
    assert signals == [signal.SIGTERM]
    await bus.stop()
