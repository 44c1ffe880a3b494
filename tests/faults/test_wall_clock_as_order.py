"""Publishers whose clocks are wrong, and a broker that comes back empty: the right price and the withdrawal survive, for every process."""

import asyncio
import random
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from csqa_loop import events as e
from csqa_loop.ledger.invariants import check, ledger_hash
from csqa_loop.log import Follower, read_to_end
from csqa_loop.rollout.epochs import unpublished_epoch
from csqa_loop.settings import Settings
from streams.loop import LoopStream
from tests import events as make
from tests.brokers import Broker
from tests.fakes.model_server import FakeModelServer
from tests.logs import Gateway, current
from tests.loops import PATIENCE, quick_settings, replayed, running, until, with_bus

HOUR = timedelta(hours=1)


@pytest.fixture(params=["mortal_broker", pytest.param("mortal_kafka", marks=pytest.mark.kafka)])
def own_broker(request: pytest.FixtureRequest) -> Broker:
    """A broker whose whole log is this test's."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def settings(tmp_path: Path, own_broker: Broker) -> Settings:
    return quick_settings(tmp_path, own_broker.servers)


def emptied(broker: Broker) -> None:
    """Lose everything and come back."""
    broker.kill()
    if broker.durable:
        assert broker.command is not None
        shutil.rmtree(broker.command[1])
        Path(broker.command[1]).mkdir()
    broker.start()


def policy(text: str, moment: datetime, policy_id: str = "returns") -> e.PolicyPublished:
    return make.policy(text, policy_id=policy_id).model_copy(update={"event_id": e.derived_id(text, policy_id), "occurred_at": moment})


async def served(settings: Settings) -> dict[str, str]:
    """What a gateway that starts now serves."""
    gateway = Gateway()
    follower = Follower(settings.kafka_servers, settings.kafka, ["csqa.policies"], lambda record: gateway.follow([record]))
    await follower.start()
    try:
        assert await follower.caught_up(PATIENCE)
    finally:
        await follower.stop()
    assert gateway.index.as_of <= e.now() + timedelta(seconds=5)
    return gateway.serves()


async def told(stream: LoopStream) -> None:
    """Return once the log holds what is current."""
    async with asyncio.timeout(PATIENCE):
        while await stream.parts.ledger.ask(unpublished_epoch) is not None or not stream.position.at_end:
            await stream.parts.ledger.next_batch(stream.parts.ledger.batches, 0.2)


@pytest.mark.timeout(240)
async def test_an_hour_ahead_then_a_lost_log(settings: Settings, own_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    cheap, gone = policy("5 pounds", e.now() + HOUR), policy("gone", e.now() + HOUR, "old")
    dear = policy("9 pounds", e.now() - HOUR)
    withdrawn = e.PolicyWithdrawn(occurred_at=e.now(), policy_id="old")
    right = {"returns": dear.version}
    async with running(settings, FakeModelServer(), monkeypatch) as stream:
        await until(stream, lambda s: s["deployment"] is not None, "the first deployment")

        async def work(bus):
            for event in (cheap, gone, dear, withdrawn, make.answer(1)):
                await bus.publish(event)

        await with_bus(settings, work)
        await until(stream, lambda s: s["recorded"]["chats"] == 1, "the answer")
        assert await stream.parts.ledger.wait_for(withdrawn.event_id, PATIENCE)
        assert await stream.parts.ledger.wait_for(dear.event_id, PATIENCE)
        before = await stream.parts.ledger.ask(ledger_hash)
        assert await replayed(settings) == before
        assert await served(settings) == right == current(stream.parts.ledger._ledger)
    await asyncio.to_thread(emptied, own_broker)
    newest = policy("10 pounds", e.now() - HOUR, "shipping")
    async with running(settings, FakeModelServer(), monkeypatch) as stream:
        await until(stream, lambda s: s["epoch"] == 2, "a new epoch")
        await told(stream)
        await with_bus(settings, lambda bus: bus.publish(newest))
        assert await stream.parts.ledger.wait_for(newest.event_id, PATIENCE)
        right |= {"shipping": newest.version}
        assert await served(settings) == right == current(stream.parts.ledger._ledger)
        log = [record async for record in read_to_end(settings.kafka_servers, settings.kafka, ["csqa.policies"])]
        assert {record.key for record in log if record.carried_us is not None} == {b"returns", b"old"}
        findings = await stream.parts.ledger.ask(check, committed=await stream.position.committed(), champion="base")
        assert [finding for finding in findings if not finding.holds] == []


@pytest.mark.timeout(240)
async def test_an_old_policy_that_is_said_again_does_not_come_back(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    cheap, dear = policy("5 pounds", e.now() + HOUR), policy("9 pounds", e.now())
    async with running(settings, FakeModelServer(), monkeypatch) as stream:
        await until(stream, lambda s: s["deployment"] is not None, "the first deployment")

        async def work(bus):
            for event in (cheap, dear, cheap):
                await bus.publish(event)

        await with_bus(settings, work)
        assert await stream.parts.ledger.wait_for(dear.event_id, PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while await served(settings) != {"returns": dear.version}:
                await stream.parts.ledger.next_batch(stream.parts.ledger.batches, 0.2)
        await told(stream)
        assert current(stream.parts.ledger._ledger) == {"returns": dear.version}
        assert await replayed(settings) == await stream.parts.ledger.ask(ledger_hash)


@pytest.mark.timeout(240)
async def test_a_thumb_of_the_year_9999_is_overtaken(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    far = make.thumb(1, "up").model_copy(update={"occurred_at": datetime.max.replace(tzinfo=e.now().tzinfo)})
    last = make.thumb(1, "down", identity=2).model_copy(update={"occurred_at": e.now()})
    async with running(settings, FakeModelServer(), monkeypatch) as stream:
        await until(stream, lambda s: s["deployment"] is not None, "the first deployment")
        await with_bus(settings, lambda bus: bus.publish(make.answer(1), far, last))
        assert await stream.parts.ledger.wait_for(last.event_id, PATIENCE)
        ledger = stream.parts.ledger._ledger
        assert ledger.connection.execute("SELECT thumb FROM last_thumbs").fetchall() == [("down",)]
        ((occurred_at,),) = ledger.connection.execute("SELECT occurred_at FROM feedback WHERE thumb = 'up'").fetchall()
        assert occurred_at <= e.now()
        findings = await stream.parts.ledger.ask(check, champion="base")
        assert "csqa.feedback: 1 dated in the future" in next(finding.detail for finding in findings if finding.invariant == "dates")


@pytest.mark.timeout(240)
async def test_the_log_twice_more_in_any_order_of_keys_changes_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(4)
    events: list[e.Event] = [policy(f"{number} pounds", e.now() + HOUR * chance.randint(-3, 3), f"p{number % 3}") for number in range(9)]
    for number in range(6):
        events += [make.answer(number), make.thumb(number, "up"), make.thumb(number, "down", identity=40 + number), make.bad_case(number)]
    async with running(settings, FakeModelServer(), monkeypatch) as stream:
        await until(stream, lambda s: s["deployment"] is not None, "the first deployment")
        for _ in range(3):
            said = make.interleaved(events, chance)
            await with_bus(settings, lambda bus, said=said: bus.publish(*said))
            for event in events:
                assert await stream.parts.ledger.wait_for(event.event_id, PATIENCE)
        await until(stream, lambda s: s["recorded"]["bad_cases"] == 6, "all bad cases")
        await told(stream)
        # The loop decides meanwhile.
        async with asyncio.timeout(PATIENCE):
            while await replayed(settings) != await stream.parts.ledger.ask(ledger_hash):
                shutil.rmtree(settings.var / "replayed")
                await stream.parts.ledger.next_batch(stream.parts.ledger.batches, 0.5)
        assert await served(settings) == current(stream.parts.ledger._ledger)
