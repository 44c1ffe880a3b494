"""The order in which the loop decodes, writes and commits. What it does on a real broker is in tests/integration."""

import asyncio
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from csqa_loop.cycle.record import Recorder
from csqa_loop.domain.intake import Batch
from csqa_loop.settings import Settings
from streams.loop import LoopStream, first_of
from tests import events as make


class Consumer:
    """Keeps what was committed."""

    def __init__(self) -> None:
        self.committed: list[dict[TopicPartition, int]] = []

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self.committed.append(offsets)


class Disk:
    """A ledger that takes a batch when it is told to, or fails."""

    def __init__(self) -> None:
        self.asked: list[Batch] = []
        self.go = asyncio.Semaphore(0)
        self.broken = False

    async def take(self, batch: Batch) -> int:
        self.asked.append(batch)
        await self.go.acquire()
        if self.broken:
            raise ValueError("not foreseen")
        return len(batch.facts)


def message(number: int) -> Any:
    record = make.record(make.thumb(number), number)
    raw = SimpleNamespace(
        topic=record.topic, partition=0, offset=number, key=record.key, value=record.value, timestamp=record.timestamp_ms, headers=()
    )
    return SimpleNamespace(raw_message=(raw,))


@pytest.fixture
def stream(tmp_path: Path) -> LoopStream:
    made = LoopStream(Settings(var=tmp_path))
    made._subscriber.consumer = Consumer()
    return made


def ids(disk: Disk) -> list[object]:
    return [event.event_id for batch in disk.asked for event, _ in batch.facts]


async def test_a_batch_is_written_after_the_one_before_it_and_committed_when_durable(stream: LoopStream) -> None:
    disk, consumer = Disk(), stream._subscriber.consumer
    stream._recorder = Recorder(disk.take, lambda event: event)
    await stream.take(message(1))
    second = asyncio.create_task(stream.take(message(2)))
    done, _ = await asyncio.wait({second}, timeout=0.2)
    assert not done
    assert ids(disk) == [make.thumb(1).event_id]
    assert consumer.committed == []
    disk.go.release()
    await second
    await stream._committing
    assert consumer.committed == [{TopicPartition("csqa.feedback", 0): 2}]
    disk.go.release()
    await stream._written()
    await stream._committing
    assert ids(disk) == [make.thumb(1).event_id, make.thumb(2).event_id]
    assert consumer.committed[1:] == [{TopicPartition("csqa.feedback", 0): 3}]


async def test_a_slow_commit_delays_no_batch_and_is_followed_by_one_for_all_that_came_meanwhile(stream: LoopStream) -> None:
    disk, consumer, answered = Disk(), stream._subscriber.consumer, asyncio.Event()

    async def slowly(offsets: dict[TopicPartition, int]) -> None:
        consumer.committed.append(offsets)
        await answered.wait()

    consumer.commit = slowly
    stream._recorder = Recorder(disk.take, lambda event: event)
    for number in (1, 2, 3):
        disk.go.release()
        await stream.take(message(number))
    await stream._written()
    assert len(ids(disk)) == 3
    assert consumer.committed == [{TopicPartition("csqa.feedback", 0): 2}]
    answered.set()
    await stream._committing
    assert consumer.committed[1:] == [{TopicPartition("csqa.feedback", 0): 4}]


async def test_nothing_is_written_after_a_batch_that_was_not(stream: LoopStream, monkeypatch: pytest.MonkeyPatch) -> None:
    signals: list[int] = []
    monkeypatch.setattr("os.kill", lambda _, number: signals.append(number))
    disk = Disk()
    disk.broken = True
    stream._recorder = Recorder(disk.take, lambda event: event)
    await stream.take(message(1))
    disk.go.release()
    for number in (2, 3):
        with pytest.raises(ValueError, match="not foreseen"):
            await stream.take(message(number))
    assert ids(disk) == [make.thumb(1).event_id]
    assert stream._subscriber.consumer.committed == []
    assert signals == [signal.SIGTERM]


async def test_the_first_of_two_reasons_for_a_beat_is_enough_and_the_other_is_left() -> None:
    one, other = asyncio.Event(), asyncio.Event()
    left: list[str] = []

    async def wait(event: asyncio.Event, name: str) -> None:
        try:
            await event.wait()
        except asyncio.CancelledError:
            left.append(name)
            raise

    other.set()
    await first_of(wait(one, "one"), wait(other, "other"))
    assert left == ["one"]
