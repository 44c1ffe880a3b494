"""What the log deleted before it was read: found at the start and while running, kept, and red until it is acknowledged."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.errors import TransientError
from csqa_loop.events import now
from csqa_loop.events.topics import CHATS, FEEDBACK, POLICIES
from csqa_loop.ledger.invariants import check
from csqa_loop.ledger.losses import Gap, losses
from csqa_loop.ledger.position import Position
from csqa_loop.ledger.service import LedgerService
from csqa_loop.log.records import LogRecord
from csqa_loop.settings import KafkaSettings
from tests.ledgers import ledger_at


class Log:
    """A consumer of which only the beginning of each partition is asked."""

    def __init__(self) -> None:
        self.start = 0
        self.asked = 0
        self.away = False

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        self.asked += 1
        if self.away:
            raise TimeoutError
        return dict.fromkeys(partitions, self.start)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[LedgerService]:
    opened = LedgerService(ledger_at(tmp_path / "ledger" / "ledger.duckdb"))
    await opened.wait_for_lock()
    await opened.open()
    yield opened
    await opened.close()


def position(ledger: Any, log: Log, topic: str, following: int) -> Position:
    async def nothing() -> None: ...

    made = Position(ledger, nothing, "nowhere:9092", KafkaSettings(), consumer=lambda: log, written=nothing, clock=now, topics=())  # type: ignore[arg-type, return-value]
    made._next[TopicPartition(topic, 0)] = following
    return made


def records(topic: str, *offsets: int) -> list[LogRecord]:
    return [LogRecord(topic, 0, offset, b"k", b"v", 0) for offset in offsets]


class Noted:
    """A ledger that only keeps losses."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []

    async def note_losses(self, gaps: list[Gap]) -> None:
        self.gaps += gaps


@given(
    following=st.integers(0, 50),
    start=st.integers(0, 100),
    first=st.integers(0, 60),
    length=st.integers(1, 5),
    topic=st.sampled_from([CHATS, POLICIES]),
)
async def test_a_gap_is_what_lies_before_the_log_and_was_not_read(following: int, start: int, first: int, length: int, topic: str) -> None:
    """Whatever the offsets: every deleted one that the ledger had not taken is lost, no other, and in a compacted topic none."""
    ledger, log = Noted(), Log()
    log.start = start
    offset = following + first
    await position(ledger, log, topic, following).look_for_gaps(records(topic, *range(offset, offset + length)))
    lost = {n for gap in ledger.gaps for n in range(gap.start, gap.until)}
    assert lost == (set() if topic == POLICIES else {n for n in range(following, offset) if n < start})
    assert log.asked == (offset > following)


async def test_a_log_that_does_not_say_where_it_begins_holds_the_batch_up(service: LedgerService) -> None:
    log = Log()
    log.away = True
    with pytest.raises(TransientError, match=r"csqa\.chats"):
        await position(service, log, CHATS, 3).look_for_gaps(records(CHATS, 9))
    assert service.losses == []


async def test_a_loss_is_red_until_acknowledged_and_again_when_it_grows(service: LedgerService) -> None:
    def holds(connection: Any) -> bool:
        return next(finding.holds for finding in check(connection) if finding.invariant == "I6")

    assert await service.ask(holds)
    await service.note_losses([Gap(CHATS, 3, 10, 20), Gap(FEEDBACK, 0, 0, 1)])
    assert [str(loss.gap) for loss in service.losses] == ["csqa.chats[3] offsets 10 to 19 (10)", "csqa.feedback[0] offsets 0 to 0 (1)"]
    assert not await service.ask(holds)
    assert await service.acknowledge_losses("the broker's disk was full; customers were told") == 2
    assert service.losses == []
    assert await service.ask(holds)
    await service.note_losses([Gap(CHATS, 3, 10, 20)])  # seen again at the next start: nothing new
    assert service.losses == []
    await service.note_losses([Gap(CHATS, 3, 10, 25)])
    assert [loss.gap.records for loss in service.losses] == [15]
    kept = await service.ask(losses)
    assert [loss.acknowledgement for loss in kept if loss.acknowledged_at] == ["the broker's disk was full; customers were told"]


async def test_losses_are_still_red_after_a_restart(tmp_path: Path) -> None:
    for expected in (0, 1):
        service = LedgerService(ledger_at(tmp_path / "ledger" / "ledger.duckdb"))
        await service.wait_for_lock()
        await service.open()
        assert len(service.losses) == expected
        await service.note_losses([Gap(CHATS, 0, 1, 2)])
        await service.close()
