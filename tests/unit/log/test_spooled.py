"""A bus behind a spool: accepted is in the log or on disk, in order, and everything else is refused by name."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import FeedbackGiven, PolicyWithdrawn, now
from csqa_loop.events.wire import decode
from csqa_loop.log import Spool, SpooledBus
from csqa_loop.log.records import Outgoing
from tests.fakes.gateway import GatewayBus
from tests.waiting import eventually

AFTER = 0.05


class PickyLog(GatewayBus):
    """Refuses one kind for good."""

    refused = b"none"

    async def deliver(self, records: Sequence[Outgoing]) -> None:
        if any(("type", self.refused) in record.headers for record in records):
            raise PermanentError("larger than the topic takes")
        await super().deliver(records)


@pytest.fixture
def log() -> PickyLog:
    return PickyLog()


@pytest.fixture
async def bus(log: PickyLog, tmp_path: Path) -> AsyncIterator[SpooledBus]:
    bus = SpooledBus(log, Spool(tmp_path, 64 * 1024), after_seconds=AFTER)
    await bus.start()
    yield bus
    await bus.stop()


def thumb(number: int, comment: str = "") -> FeedbackGiven:
    return FeedbackGiven(
        conversation_id=f"c-{number % 3}", message_id=str(number), user="u-1", thumb="up", comment=comment or None, occurred_at=now()
    )


async def in_log(log: PickyLog, *events: FeedbackGiven) -> None:
    await eventually(lambda: len(log.records) >= len(events), "the log has them")
    assert log.events == list(events)


async def test_nothing_is_written_while_the_log_is_there(bus: SpooledBus, log: PickyLog, tmp_path: Path) -> None:
    sent = [thumb(number) for number in range(20)]
    for event in sent:
        await bus.publish(event)
    assert log.events == sent
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    assert (bus.waiting().events, bus.waiting().oldest_seconds, bus.waiting().trouble) == (0, 0.0, "")


async def test_what_comes_later_waits_behind_what_waits(bus: SpooledBus, log: PickyLog) -> None:
    sent = [thumb(number) for number in range(30)]
    log.down = True
    for event in sent[:10]:
        await bus.publish(event)
    assert log.records == []
    assert bus.waiting().events == 10
    assert bus.waiting().oldest_seconds > 0
    log.down = False
    log.hold()
    for event in sent[10:20]:
        await bus.publish(event)
    log.release()
    for event in sent[20:]:
        await bus.publish(event)
    await in_log(log, *sent)
    await bus.publish(last := thumb(30))
    await in_log(log, *sent, last)


async def test_only_the_first_waits_for_a_log_that_is_away(bus: SpooledBus, log: PickyLog) -> None:
    log.hold()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await bus.publish(thumb(0))
    assert loop.time() - began >= AFTER * 0.9
    async with asyncio.timeout(5):
        await asyncio.gather(*(bus.publish(thumb(number)) for number in range(1, 100)))
    assert bus.waiting().events == 100
    log.release()
    await eventually(lambda: len(log.records) == 100, "the log has them")


async def test_a_full_spool_is_named_and_takes_again_when_there_is_room(bus: SpooledBus, log: PickyLog) -> None:
    log.down = True
    accepted = []
    with pytest.raises(TransientError, match=r"spool in .* is full: \d+ of CSQA_SPOOL__MAX_BYTES = 65536"):
        for number in range(100):
            await bus.publish(event := thumb(number, "word " * 500))
            accepted.append(event)
    assert len(accepted) > 10
    assert "is full" in bus.waiting().trouble
    log.down = False
    await in_log(log, *accepted)
    await bus.publish(last := thumb(200))
    await in_log(log, *accepted, last)
    await eventually(lambda: not bus.waiting().trouble, "the trouble is over")
    assert bus.waiting().trouble == ""


async def test_what_waits_is_taken_up_by_the_next_process(log: PickyLog, tmp_path: Path) -> None:
    log.down = True
    first = SpooledBus(log, spool := Spool(tmp_path, 64 * 1024), after_seconds=AFTER)
    with pytest.raises(TransientError):
        await first.start()
    sent = [thumb(number) for number in range(10)]
    for event in sent:
        await first.publish(event)
    for task in first._tasks:
        task.cancel()
    spool.close()  # as the end of a process does
    second = SpooledBus(log, Spool(tmp_path, 64 * 1024), after_seconds=AFTER)
    log.down = False
    await second.start()
    await second.publish(last := thumb(10))
    await in_log(log, *sent, last)
    await second.stop()
    with pytest.raises(TransientError, match="not open|closed|answer"):
        log.down = True
        await second.publish(thumb(11))


async def test_a_record_that_the_log_never_takes_holds_up_nobody(bus: SpooledBus, log: PickyLog, tmp_path: Path) -> None:
    log.down = True
    withdrawn = PolicyWithdrawn(policy_id="p", occurred_at=now())
    sent = [thumb(number) for number in range(4)]
    await bus.publish(*sent[:2])
    await bus.publish(withdrawn)
    await bus.publish(*sent[2:])
    log.refused, log.down = b"PolicyWithdrawn", False
    await in_log(log, *sent)
    [file] = tmp_path.glob("*.refused")
    assert decode(withdrawn.topic, file.read_bytes()) == withdrawn


async def test_a_spool_that_is_taken_accepts_what_the_log_takes_and_opens_later(log: PickyLog, tmp_path: Path) -> None:
    (owner := Spool(tmp_path, 64 * 1024)).open()
    bus = SpooledBus(log, Spool(tmp_path, 64 * 1024), after_seconds=AFTER)
    await bus.start()
    assert "belongs to another process" in bus.waiting().trouble
    await bus.publish(first := thumb(1))
    log.down = True
    with pytest.raises(TransientError):
        await bus.publish(thumb(2))
    owner.close()
    await eventually(lambda: not bus.waiting().trouble, "the spool is open")
    await bus.publish(third := thumb(3))
    log.down = False
    await in_log(log, first, third)
    await bus.stop()


async def test_a_caller_who_leaves_breaks_nothing(bus: SpooledBus, log: PickyLog) -> None:
    log.down = True
    publishing = [asyncio.create_task(bus.publish(thumb(number))) for number in range(20)]
    await asyncio.sleep(AFTER)
    for task in publishing[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*publishing, return_exceptions=True)
    log.down = False
    accepted = {str(number) for number, outcome in enumerate(outcomes) if outcome is None}
    await eventually(lambda: accepted <= {event.message_id for event in log.of_type(FeedbackGiven)}, "the log has them")
    await eventually(lambda: bus._behind == 0, "nothing waits")
    assert bus.waiting().events == 0


async def test_a_disk_that_fails_or_hangs_is_named_in_time(bus: SpooledBus, log: PickyLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.down = True
    release = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr("csqa_loop.log.spooled._DISK_SECONDS", 0.1)
        patch.setattr(os, "fsync", lambda descriptor: release.wait(10))
        with pytest.raises(TransientError, match="does not answer within"):
            await bus.publish(thumb(1))
        release.set()
        await eventually(lambda: bus.waiting().events == 1, "the disk came back")

    def refuse(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(TransientError, match="Input/output error"):
            await bus.publish(thumb(2))
    await bus.publish(thumb(3))
    log.down = False
    await eventually(lambda: [event.message_id for event in log.of_type(FeedbackGiven)] == ["1", "3"], "the log has what was accepted")


async def test_an_event_that_comes_while_the_spool_is_found_empty_is_delivered(
    bus: SpooledBus, log: PickyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, head = asyncio.get_running_loop(), bus._spool.head
    found_empty, go_on = asyncio.Event(), threading.Event()

    def slowly(most: int) -> list[Outgoing]:
        records = head(most)
        if not records:
            loop.call_soon_threadsafe(found_empty.set)
            go_on.wait(10)
        return records

    monkeypatch.setattr(bus._spool, "head", slowly)
    log.down = True
    await bus.publish(first := thumb(1))
    log.down = False
    await asyncio.wait_for(found_empty.wait(), 10)
    log.down = True
    await bus.publish(second := thumb(2))
    log.down = False
    go_on.set()
    await in_log(log, first, second)
