"""One log, one ledger: a second one is refused by name or takes over by order, and a loop that holds a part of the log decides nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from csqa_loop import events as e
from csqa_loop.events.topics import CHATS, DECISIONS
from csqa_loop.settings import Settings
from streams.loop import GROUP, LoopStream
from tests import events as make
from tests.brokers import Broker
from tests.fakes.model_server import FakeModelServer
from tests.loops import published, quick_settings, replayed, running, until, with_bus
from tests.waiting import eventually

pytestmark = pytest.mark.fault(8, "a second ledger, a ghost in the group, a takeover")

RECOVERY = 30.0
"""Seconds that a takeover may take."""


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """On a broker of the test's own, empty."""
    broker: Broker = request.getfixturevalue({"embedded": "mortal_broker", "kafka": "mortal_kafka"}[request.param])
    return quick_settings(tmp_path, broker.servers)


def elsewhere(settings: Settings) -> Settings:
    """The same log, another ledger."""
    return settings.model_copy(update={"var": settings.var.parent / "other"})


async def in_phase(stream: LoopStream, phase: str) -> None:
    await eventually(lambda: stream.health()["phase"] == phase, f"phase {phase}", RECOVERY)


async def claims(settings: Settings) -> list[tuple[str, int]]:
    return [(event.ledger_id, event.term) for event in await published(settings, DECISIONS) if isinstance(event, e.LedgerOpened)]


async def test_a_second_ledger_is_refused_by_name_and_takes_over_by_order(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeModelServer()
    await_first = [make.answer(number) for number in range(20)]
    async with running(settings, server, monkeypatch) as first:
        await in_phase(first, "deciding")
        await with_bus(settings, lambda bus: bus.publish(*await_first))
        async with running(elsewhere(settings), server, monkeypatch) as second:
            await in_phase(second, "refused")
            mine = first.parts.authority.mine
            assert mine is not None
            told = second.health()
            assert not told["ok"]
            assert mine.ledger_id in str(told["trouble"])
            assert "csqa ledger takeover" in str(told["trouble"])
            holds, why = await second.parts.authority.standing()
            assert (holds, why) == (False, told["trouble"])
            # It took no partition: everything reaches the first.
            await with_bus(settings, lambda bus: bus.publish(*(make.answer(number) for number in range(20, 40))))
            await until(first, lambda s: s["recorded"]["chats"] == 40, "all chats in the first ledger")
            assert await claims(settings) == [(mine.ledger_id, 1)]

            second.parts.authority.order("ann", "the disk of the first is broken")
            async with asyncio.timeout(RECOVERY):
                await in_phase(first, "fenced")
                await in_phase(second, "deciding")
            assert "by order of ann: the disk of the first is broken" in str(first.health()["trouble"])
            assert not first.health()["ok"]
            await until(second, lambda s: s["recorded"]["chats"] == 40, "all chats in the second ledger")
            other = second.parts.authority.ledger_id
            assert await claims(settings) == [(mine.ledger_id, 1), (other, 2)]
            decided = len(await published(settings, DECISIONS))
            await with_bus(settings, lambda bus: bus.publish(make.thumb(1)))
            await until(second, lambda s: s["recorded"]["feedback"] == 1, "the thumb")
            assert len(await published(settings, DECISIONS)) == decided
    # The former one comes back and is refused in its turn.
    async with running(settings, server, monkeypatch) as former:
        await in_phase(former, "refused")
        assert other in str(former.health()["trouble"])


async def test_a_ledger_that_was_lost_is_still_the_logs_own(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeModelServer()
    async with running(settings, server, monkeypatch) as first:
        await in_phase(first, "deciding")
        await with_bus(settings, lambda bus: bus.publish(*(make.answer(number) for number in range(9))))
        await until(first, lambda s: s["recorded"]["chats"] == 9, "all chats")
    for file in settings.ledger_file.parent.glob("ledger.duckdb*"):
        file.unlink()
    async with running(settings, server, monkeypatch) as again:
        await in_phase(again, "deciding")
        await until(again, lambda s: s["recorded"]["chats"] == 9, "all chats once more")
        terms = await claims(settings)
        assert [term for _, term in terms] == [1, 2]
        assert len({name for name, _ in terms}) == 1
        assert await replayed(settings)


@asynccontextmanager
async def ghost(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """A member of the loop's group that nobody sees, as a process leaves it that was killed: it holds partitions and reads none."""
    consumer = AIOKafkaConsumer(
        CHATS, bootstrap_servers=settings.kafka_servers, group_id=GROUP, session_timeout_ms=10_000, rebalance_timeout_ms=10_000, enable_auto_commit=False,
    )  # fmt: skip
    await consumer.start()
    try:
        async with asyncio.timeout(RECOVERY):
            while not consumer.assignment():
                await consumer.getmany(timeout_ms=100)
        yield consumer
    finally:
        await consumer.stop()


async def test_a_part_of_the_log_is_nothing_to_decide_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "aiokafka")
    server = FakeModelServer()
    async with running(settings, server, monkeypatch) as stream:
        await in_phase(stream, "deciding")
        async with ghost(settings):
            await eventually(lambda: bool(stream.position.trouble), "partitions with the ghost", RECOVERY)
            await with_bus(settings, lambda bus: bus.publish(*(make.answer(number) for number in range(60))))
            assert not stream.position.at_end
            assert not await stream._may_decide()
            trouble = str(stream.health()["troubles"]["log"])  # type: ignore[index]
            assert CHATS in trouble
            assert "another member" in trouble
        await until(stream, lambda s: s["recorded"]["chats"] == 60, "all chats once the ghost is gone")
        await in_phase(stream, "deciding")
        assert stream.position.trouble is None
