"""The loop on a real broker with a real ledger: from events to a promoted champion, across restarts and lost logs."""

import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from csqa_loop import events as e
from csqa_loop.ledger.invariants import check, ledger_hash
from csqa_loop.ledger.letters import letters_to_publish
from csqa_loop.rollout.epochs import unpublished_epoch
from csqa_loop.settings import KafkaSettings, Settings
from tests import events as make
from tests.brokers import Broker
from tests.fakes.model_server import FakeModelServer
from tests.loops import (
    ADAPTER,
    PATIENCE,
    feed_pairs,
    finish_training,
    play_users,
    published,
    quick_settings,
    replayed,
    running,
    until,
    with_bus,
)


@pytest.fixture(params=["mortal_broker", pytest.param("mortal_kafka", marks=pytest.mark.kafka)])
def own_broker(request: pytest.FixtureRequest) -> Broker:
    """A broker whose whole log is this test's."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def settings(tmp_path: Path, own_broker: Broker) -> Settings:
    return quick_settings(tmp_path, own_broker.servers)


async def test_pairs_become_one_run_one_experiment_and_a_champion(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeModelServer()
    async with running(settings, server, monkeypatch) as stream:
        await until(stream, lambda s: s["deployment"] is not None, "the first deployment")
        await feed_pairs(settings, 1, 4)
        told = await until(stream, lambda s: s["run"] is not None, "a run")
        run_id = told["run"]["run_id"]
        assert told["run"]["state"] == "requested"
        assert (settings.runs / run_id / "request.json").exists()
    # A crash here: the next loop must not claim a second run, nor lose the first.
    async with running(settings, server, monkeypatch) as stream:
        await finish_training(settings, run_id)
        told = await until(stream, lambda s: s["deployment"]["experiment"] is not None, "an experiment in the deployment")
        assert told["deployment"]["challenger"] == ADAPTER
        assert ADAPTER in next(iter(server.held.values()))
        await play_users(settings, told["experiment"]["id"], 120)
        told = await until(stream, lambda s: not s["busy"] and s["deployment"]["champion"] == ADAPTER, "a promotion")
        assert told["experiment"]["verdict"] == "PROMOTE"
        assert told["experiment"]["n"] == {"challenger": 60, "control": 60}
        live = await stream.parts.ledger.ask(ledger_hash)
        findings = await stream.parts.ledger.ask(check, committed=await stream.position.committed(), champion=ADAPTER)
        assert [finding for finding in findings if not finding.holds] == []
        assert await replayed(settings) == live
    training = [event for event in await published(settings, "csqa.training") if event.type == "TrainingRequested"]
    assert len(training) == 1
    revisions = [event.revision for event in await published(settings, "csqa.deployments")]
    assert sorted(set(revisions)) == sorted(revisions)


async def test_what_came_while_no_loop_ran_is_caught_up_pairs_and_all(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_bus(settings, lambda bus: bus.ensure_topics())
    await feed_pairs(settings, 1, 5)
    async with running(settings, FakeModelServer(), monkeypatch) as stream:
        told = await until(stream, lambda s: s["run"] is not None, "a run")
        assert told["recorded"]["bad_cases"] == 5
        assert not stream.parts.ledger.pairs_outstanding
        live = await stream.parts.ledger.ask(ledger_hash)
        assert await replayed(settings) == live


async def test_harm_is_rolled_back(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeModelServer()
    async with running(settings, server, monkeypatch) as stream:
        await until(stream, lambda s: s["deployment"] is not None, "the first deployment")
        await feed_pairs(settings, 1, 3)
        told = await until(stream, lambda s: s["run"] is not None, "a run")
        await finish_training(settings, told["run"]["run_id"])
        told = await until(stream, lambda s: s["deployment"]["experiment"] is not None, "an experiment in the deployment")
        await play_users(settings, told["experiment"]["id"], 120, challenger_up=False)
        told = await until(stream, lambda s: not s["busy"] and s["experiment"]["verdict"] != "CONTINUE", "a verdict")
        assert (told["experiment"]["verdict"], told["deployment"]["champion"]) == ("ROLL_BACK", "base")
        assert ADAPTER not in next(iter(server.held.values()))


async def test_a_refused_adapter_sees_no_customer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeModelServer()
    async with running(settings, server, monkeypatch) as stream:
        await until(stream, lambda s: s["deployment"] is not None, "the first deployment")
        await feed_pairs(settings, 1, 3)
        told = await until(stream, lambda s: s["run"] is not None, "a run")
        await finish_training(settings, told["run"]["run_id"], passed=False)
        told = await until(stream, lambda s: s["run"]["state"] == "refused" and not s["busy"], "the refusal")
        assert told["experiment"] is None
        assert told["deployment"]["candidate"] is None
        assert told["deployment"]["champion"] == "base"


async def test_foreign_and_broken_records_are_dead_letters_and_hold_up_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(settings, FakeModelServer(), monkeypatch) as stream:
        await until(stream, lambda s: s["deployment"] is not None, "the first deployment")
        producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_servers)
        await producer.start()
        try:
            foreign = [("content-type", b"application/json"), ("correlation_id", b"\xff\xfe")]
            await producer.send_and_wait("csqa.feedback", b"\xff\x00", key=b"c1", headers=foreign)
            await producer.send_and_wait("csqa.feedback", None, key=b"c1")
            await producer.send_and_wait("csqa.feedback", make.thumb(1).to_json(), key=b"c1", headers=foreign)
        finally:
            await producer.stop()
        told = await until(stream, lambda s: s["recorded"]["feedback"] == 1, "the thumb between the broken records")
        assert told["recorded"]["dead_letters"] == 2
        while await stream.parts.ledger.ask(letters_to_publish):
            await stream.parts.ledger.next_batch(stream.parts.ledger.batches, 0.2)
        letters = await published(settings, "csqa.dead-letters")
        assert len({letter.key for letter in letters}) == 1
        assert all("csqa.feedback" in letter.reason for letter in letters if isinstance(letter, e.DeadLettered))


async def test_a_broker_that_comes_back_empty_starts_an_epoch(
    tmp_path: Path, mortal_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(var=tmp_path / "var", kafka=KafkaSettings(servers=mortal_broker.servers))
    policy = e.PolicyPublished(occurred_at=make.at(0), policy_id="returns", version=make.VERSION, title="Returns", text="14 days.")
    async with running(settings, FakeModelServer(), monkeypatch) as stream:
        await until(stream, lambda s: s["deployment"] is not None, "the first deployment")
        await with_bus(settings, lambda bus: bus.publish(policy, make.answer(1)))
        told = await until(stream, lambda s: s["recorded"]["chats"] == 1, "the answer")
        before = await stream.parts.ledger.ask(ledger_hash)
        assert told["epoch"] == 1
    mortal_broker.kill()
    mortal_broker.start()
    async with running(settings, FakeModelServer(), monkeypatch) as stream:
        await until(stream, lambda s: s["epoch"] == 2, "a new epoch")
        deadline = time.monotonic() + PATIENCE
        while await stream.parts.ledger.ask(unpublished_epoch) is not None and time.monotonic() < deadline:
            await stream.parts.ledger.next_batch(stream.parts.ledger.batches, 0.2)
        assert [event.event_id for event in await published(settings, "csqa.policies")] == [policy.event_id]
        assert [event.revision for event in await published(settings, "csqa.deployments")] == [1]
        assert await stream.parts.ledger.ask(ledger_hash) == before


async def test_a_standby_waits_for_the_ledger(tmp_path: Path, mortal_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(var=tmp_path / "var", kafka=KafkaSettings(servers=mortal_broker.servers))
    async with running(settings, FakeModelServer(), monkeypatch) as active:
        await until(active, lambda s: s["deployment"] is not None, "the first deployment")
        async with running(settings, FakeModelServer(), monkeypatch) as standby:
            await active.parts.ledger.next_batch(active.parts.ledger.batches, 2.0)
            assert standby.health()["phase"] == "standby"
            assert standby.health()["ok"]
