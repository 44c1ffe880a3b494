"""The order in which the loop decodes, writes and commits. What it does on a real broker is in tests/integration."""

import asyncio
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from csqa_loop.ledger.facts import Rows
from csqa_loop.ledger.recorder import Recorder
from csqa_loop.log.records import LogRecord
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
        self.asked: list[Rows] = []
        self.go = asyncio.Semaphore(0)
        self.broken = False

    async def take(self, rows: Rows) -> int:
        self.asked.append(rows)
        await self.go.acquire()
        if self.broken:
            raise ValueError("not foreseen")
        return len(rows.records)


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
    return [name for rows in disk.asked for name in rows.tables["events"]["event_id"].to_pylist()]


async def asked(disk: Disk, number: int) -> None:
    async with asyncio.timeout(10):
        while len(disk.asked) < number:
            await asyncio.sleep(0)


async def test_a_batch_is_written_after_the_one_before_it_and_committed_when_durable(stream: LoopStream) -> None:
    disk, consumer = Disk(), stream._subscriber.consumer
    stream._recorder = Recorder(disk.take)
    await stream.take(message(1))
    await stream.take(message(2))
    await asked(disk, 1)
    assert ids(disk) == [make.thumb(1).event_id]
    assert consumer.committed == []
    disk.go.release()
    await asked(disk, 2)
    await stream._committing
    assert ids(disk) == [make.thumb(1).event_id, make.thumb(2).event_id]
    assert consumer.committed == [{TopicPartition("csqa.feedback", 0): 2}]
    disk.go.release()
    await stream._written()
    await stream._committing
    assert consumer.committed[1:] == [{TopicPartition("csqa.feedback", 0): 3}]


async def test_pairs_wait_until_the_log_has_been_caught_up(stream: LoopStream, monkeypatch: pytest.MonkeyPatch) -> None:
    put_off: list[bool] = []

    async def take(rows: Rows, *, later: bool) -> int:
        put_off.append(later)
        return len(rows.records)

    monkeypatch.setattr(stream.parts.ledger, "take", take)
    partition = TopicPartition("csqa.feedback", 0)
    stream.position._next, stream.position._ends = {partition: 1}, {partition: 3}
    for number in (1, 2, 3):
        await stream.take(message(number))
    await stream._written()
    assert put_off == [True, True, False]


@pytest.mark.parametrize(("long", "most"), [(500, 2), (1, 6)])
async def test_few_batches_are_in_hand_and_more_of_long_ones(
    stream: LoopStream, monkeypatch: pytest.MonkeyPatch, long: int, most: int
) -> None:
    monkeypatch.setattr("streams.loop.LONG", long)
    disk = Disk()
    stream._recorder = Recorder(disk.take)
    for number in range(most):
        await stream.take(message(number))
    another = asyncio.create_task(stream.take(message(most)))
    await asked(disk, 1)
    assert not another.done()
    disk.go.release()
    await another
    for _ in range(most):
        disk.go.release()
    await stream._written()
    assert ids(disk) == [make.thumb(number).event_id for number in range(most + 1)]


async def test_batches_are_written_in_order_whichever_is_sorted_out_first(stream: LoopStream) -> None:
    disk, sort_out, first = Disk(), stream._sort_out, asyncio.Event()

    async def first_is_slow(records: list[LogRecord]) -> Rows:
        if records[0].offset == 1:
            await first.wait()
        rows = await sort_out(records)
        if records[0].offset == 2:
            first.set()
        return rows

    stream._sort_out = first_is_slow
    stream._recorder = Recorder(disk.take)
    for number in (1, 2):
        disk.go.release()
        await stream.take(message(number))
    await stream._written()
    assert ids(disk) == [make.thumb(1).event_id, make.thumb(2).event_id]


async def test_a_slow_commit_delays_no_batch_and_is_followed_by_one_for_all_that_came_meanwhile(stream: LoopStream) -> None:
    disk, consumer, answered = Disk(), stream._subscriber.consumer, asyncio.Event()

    async def slowly(offsets: dict[TopicPartition, int]) -> None:
        consumer.committed.append(offsets)
        await answered.wait()

    consumer.commit = slowly
    stream._recorder = Recorder(disk.take)
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
    stream._recorder = Recorder(disk.take)
    await stream.take(message(1))
    disk.go.release()
    await stream.take(message(2))  # was on its way already
    await asyncio.wait({stream._writing}, timeout=10)
    with pytest.raises(ValueError, match="not foreseen"):
        await stream.take(message(3))
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
