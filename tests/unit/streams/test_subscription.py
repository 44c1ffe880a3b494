"""Every message of every process passes through one middleware; what it makes of an error, and when a batch is acknowledged."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faststream.kafka import KafkaBroker, TestKafkaBroker

from csqa_loop.errors import PermanentError
from csqa_loop.events import PolicyIndexed
from csqa_loop.events.topics import BAD_CASES, FEEDBACK, POLICIES, TRAINING
from csqa_loop.knowledge.rules.publishing import publication
from csqa_loop.settings import KafkaSettings, Settings
from streams.indexer import IndexerStream
from streams.loop import LoopStream
from streams.process import Process
from streams.trainer import TrainerStream
from tests.fakes.bus import MemoryBus
from tests.fakes.encoder import FakeEncoder
from tests.run_directories import requested

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Taker:
    """A use case that keeps what it was given, or fails."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.broken = False

    async def take(self, given: Any) -> None:
        if self.broken:
            raise ValueError("not foreseen")
        self.taken.append(given)


class Commits:
    """A consumer that says how often it was told to commit."""

    def __init__(self) -> None:
        self.number = 0
        self.hangs = False

    async def commit(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        self.number += 1


def loop(settings: Settings, taker: Taker) -> Process:
    stream = LoopStream(settings)
    stream.intake = taker  # type: ignore[assignment]
    return stream


def indexer(settings: Settings, taker: Taker) -> Process:
    stream = IndexerStream(settings, FakeEncoder(), MemoryBus())  # type: ignore[arg-type]
    stream.assignments.settled.set()
    stream._indexer = SimpleNamespace(news=list, take=taker.take)  # type: ignore[assignment]
    return stream


def trainer(settings: Settings, taker: Taker) -> Process:
    stream = TrainerStream(settings)
    stream.trainer = taker  # type: ignore[assignment]
    return stream


PROCESSES = pytest.mark.parametrize(
    ("build", "topics"), [(loop, [FEEDBACK, BAD_CASES]), (indexer, [POLICIES]), (trainer, [TRAINING])], ids=["loop", "indexer", "trainer"]
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(var=tmp_path, kafka=KafkaSettings(request_timeout_seconds=0.2))


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sent: list[int] = []
    monkeypatch.setattr("os.kill", lambda _, number: sent.append(number))
    return sent


@asynccontextmanager
async def in_memory(stream: Any, commits: Commits) -> AsyncIterator[KafkaBroker]:
    async with TestKafkaBroker(stream.subscription.broker) as broker:
        stream.subscription._subscriber.parser._setup(commits)
        yield broker


@PROCESSES
async def test_every_message_of_every_process_passes_through_the_middleware(
    settings: Settings, caplog: pytest.LogCaptureFixture, build: Callable[[Settings, Taker], Process], topics: list[str]
) -> None:
    caplog.set_level(logging.DEBUG, logger="streams.subscription")
    stream = build(settings, taker := Taker())
    async with in_memory(stream, Commits()) as broker:
        for topic in topics:
            for _ in range(3):
                await broker.publish(requested("r-1").to_json(), topic, headers={"content-type": "application/json"})
    seen = [record.getMessage() for record in caplog.records if record.name == "streams.subscription"]
    assert [line.split(" in ")[0] for line in seen] == [f"{stream.name}: 1 record(s)"] * 3 * len(topics)
    assert len(taker.taken) == 3 * len(topics)


@PROCESSES
async def test_after_an_error_that_nobody_foresaw_nothing_is_taken_or_acknowledged(
    settings: Settings, signals: list[int], build: Callable[[Settings, Taker], Process], topics: list[str]
) -> None:
    stream, commits = build(settings, taker := Taker()), Commits()
    taker.broken = True
    async with in_memory(stream, commits) as broker:
        with pytest.raises(ValueError, match="not foreseen"):
            await broker.publish(requested("r-1").to_json(), topics[0])
        taker.broken = False
        with pytest.raises(PermanentError, match=f"the {stream.name} is ending"):
            await broker.publish(requested("r-1").to_json(), topics[0])
    assert taker.taken == []
    assert commits.number == 0
    assert signals == [signal.SIGTERM]


async def test_the_indexer_acknowledges_what_is_published_and_waits_until_its_state_is_that_of_this_log(settings: Settings) -> None:
    bus, commits = MemoryBus(), Commits()
    stream = IndexerStream(settings, FakeEncoder(), bus)  # type: ignore[arg-type]
    bus.fail(1)
    async with in_memory(stream, commits) as broker:
        publishing = asyncio.create_task(broker.publish(publication("returns", "14 days", now=NOW).to_json(), POLICIES))
        for _ in range(20):
            await asyncio.sleep(0)
        assert (bus.records, commits.number) == ([], 0)
        stream.assignments.settled.set()
        async with asyncio.timeout(5):
            while not stream.trouble:
                await asyncio.sleep(0)
        assert (bus.records, commits.number) == ([], 0)
        await publishing
    assert len(bus.of_type(PolicyIndexed)) == commits.number == 1
    assert stream.health()["trouble"] is None


async def test_the_loop_never_acknowledges_a_message(settings: Settings) -> None:
    commits = Commits()
    async with in_memory(loop(settings, Taker()), commits) as broker:
        await broker.publish(b"{}", FEEDBACK)
    assert commits.number == 0


async def test_a_record_that_is_no_event_is_passed_over_by_the_trainer_and_acknowledged(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    commits, taker = Commits(), Taker()
    async with in_memory(trainer(settings, taker), commits) as broker:
        await broker.publish(b"no event", TRAINING)
        await broker.publish(requested("r-1").to_json(), TRAINING)
    assert [event.run_id for event in taker.taken] == ["r-1"]
    assert commits.number == 2
    assert "is passed over" in caplog.text


async def test_a_commit_that_hangs_is_given_up_and_told_until_one_is_heard(settings: Settings) -> None:
    commits = Commits()
    stream = trainer(settings, Taker())
    async with in_memory(stream, commits) as broker:
        commits.hangs = True
        await broker.publish(requested("r-1").to_json(), TRAINING)
        assert "offset not committed" in str(stream.trouble)
        commits.hangs = False
        await broker.publish(requested("r-2").to_json(), TRAINING)
    assert stream.trouble is None
