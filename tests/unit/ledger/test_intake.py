"""The order in which batches are sorted out, written and committed. What the loop does on a real broker is in tests/integration."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition

from csqa_loop.ledger.facts import Rows
from csqa_loop.ledger.intake import Intake
from csqa_loop.ledger.sorting import Sorter
from csqa_loop.log.records import LogRecord
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
        self.put_off: list[bool] = []

    async def take(self, rows: Rows, *, later: bool) -> int:
        self.asked.append(rows)
        self.put_off.append(later)
        await self.go.acquire()
        if self.broken:
            raise ValueError("not foreseen")
        return len(rows.records)


class Place:
    """A position in a log of `end` records."""

    def __init__(self) -> None:
        self.next = self.end = 0

    @property
    def at_end(self) -> bool:
        return self.next >= self.end

    async def look_for_gaps(self, records: list[LogRecord]) -> None: ...

    def advance(self, records: list[LogRecord]) -> None:
        self.next = records[-1].offset + 1


class Parts:
    """An intake and what it works with."""

    def __init__(self) -> None:
        self.disk, self.place, self.consumer, self.sorter = Disk(), Place(), Consumer(), Sorter(b"0" * 32)
        self.intake = self.sorting_with(self.sorter)

    def sorting_with(self, sort_out) -> Intake:
        return Intake(self.disk, self.place, sort_out, consumer=lambda: self.consumer, commit_seconds=5.0)

    async def take(self, *numbers: int) -> None:
        for number in numbers:
            await self.intake.take([make.record(make.thumb(number), number)])

    async def settled(self) -> None:
        await self.intake.written()
        if self.intake._committing is not None:
            await self.intake._committing


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    made = Parts()
    yield made
    await made.sorter.close()


def ids(disk: Disk) -> list[object]:
    return [name for rows in disk.asked for name in rows.tables["events"]["event_id"].to_pylist()]


async def asked(disk: Disk, number: int) -> None:
    async with asyncio.timeout(10):
        while len(disk.asked) < number:
            await asyncio.sleep(0)


async def test_a_batch_is_written_after_the_one_before_it_and_committed_when_durable(parts: Parts) -> None:
    disk, consumer = parts.disk, parts.consumer
    await parts.take(1, 2)
    await asked(disk, 1)
    assert ids(disk) == [make.thumb(1).event_id]
    assert consumer.committed == []
    disk.go.release()
    await asked(disk, 2)
    await parts.intake._committing
    assert ids(disk) == [make.thumb(1).event_id, make.thumb(2).event_id]
    assert consumer.committed == [{TopicPartition("csqa.feedback", 0): 2}]
    disk.go.release()
    await parts.settled()
    assert consumer.committed[1:] == [{TopicPartition("csqa.feedback", 0): 3}]


async def test_pairs_wait_until_the_log_has_been_caught_up(parts: Parts) -> None:
    parts.place.next, parts.place.end = 1, 3
    for number in (1, 2, 3):
        parts.disk.go.release()
        await parts.take(number)
        await parts.intake.written()
    assert parts.disk.put_off == [True, True, False]


@pytest.mark.parametrize(("long", "most"), [(500, 2), (1, 6)])
async def test_few_batches_are_in_hand_and_more_of_long_ones(parts: Parts, monkeypatch: pytest.MonkeyPatch, long: int, most: int) -> None:
    monkeypatch.setattr("csqa_loop.ledger.intake.LONG", long)
    disk = parts.disk
    await parts.take(*range(most))
    another = asyncio.create_task(parts.take(most))
    await asked(disk, 1)
    assert not another.done()
    disk.go.release()
    await another
    for _ in range(most):
        disk.go.release()
    await parts.settled()
    assert ids(disk) == [make.thumb(number).event_id for number in range(most + 1)]


async def test_batches_are_written_in_order_whichever_is_sorted_out_first(parts: Parts) -> None:
    disk, first = parts.disk, asyncio.Event()

    async def first_is_slow(records: list[LogRecord]) -> Rows:
        if records[0].offset == 1:
            await first.wait()
        rows = await parts.sorter(records)
        if records[0].offset == 2:
            first.set()
        return rows

    parts.intake = parts.sorting_with(first_is_slow)
    for number in (1, 2):
        disk.go.release()
        await parts.take(number)
    await parts.settled()
    assert ids(disk) == [make.thumb(1).event_id, make.thumb(2).event_id]


async def test_a_slow_commit_delays_no_batch_and_is_followed_by_one_for_all_that_came_meanwhile(parts: Parts) -> None:
    disk, consumer, answered = parts.disk, parts.consumer, asyncio.Event()

    async def slowly(offsets: dict[TopicPartition, int]) -> None:
        consumer.committed.append(offsets)
        await answered.wait()

    consumer.commit = slowly
    for number in (1, 2, 3):
        disk.go.release()
        await parts.take(number)
        await parts.intake.written()
    assert len(ids(disk)) == 3
    assert consumer.committed == [{TopicPartition("csqa.feedback", 0): 2}]
    answered.set()
    await parts.intake._committing
    assert consumer.committed[1:] == [{TopicPartition("csqa.feedback", 0): 4}]


async def test_nothing_is_written_after_a_batch_that_was_not(parts: Parts) -> None:
    disk = parts.disk
    disk.broken = True
    running = asyncio.create_task(parts.intake.run())
    await parts.take(1)
    disk.go.release()
    await parts.take(2)  # was on its way already
    with pytest.raises(ValueError, match="not foreseen"):
        await asyncio.wait_for(running, 10)
    await parts.intake.written()
    with pytest.raises(ValueError, match="not foreseen"):
        await parts.take(3)
    assert ids(disk) == [make.thumb(1).event_id]
    assert parts.consumer.committed == []
