"""Operators at a running loop: stop, promote, roll back and pause, over the console and across a crash."""

from pathlib import Path

import httpx
import pytest

from csqa_loop import events as e
from csqa_loop.console.app import create_console
from csqa_loop.ledger.invariants import ledger_hash
from csqa_loop.rollout.history import audit_entries
from csqa_loop.settings import Settings
from streams.loop import LoopStream
from tests.adapter_folders import adapter_in
from tests.brokers import Broker
from tests.fakes.model_server import FakeModelServer
from tests.loops import feed_pairs, finish_training, play_users, published, quick_settings, replayed, running, until, with_bus


@pytest.fixture
def settings(tmp_path: Path, mortal_broker: Broker) -> Settings:
    return quick_settings(tmp_path, mortal_broker.servers)


async def order(stream: LoopStream, action: str, *, status: int = 200, **body: object) -> dict:
    app = create_console(stream.parts.console, stream.position, stream.health, lambda _: pytest.fail("the loop runs already"))
    headers = {"Authorization": f"Bearer {stream.parts.secrets.operator_key}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console", headers=headers) as client:
        answer = await client.post(f"/v1/operator/{action}", json={"operator": "ann", "reason": "a test"} | body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_stopped_promoted_and_rolled_back_by_hand(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, server = adapter_in(settings.adapters, b"tensors"), FakeModelServer()
    async with running(settings, server, monkeypatch) as stream:
        await until(stream, lambda s: s["deployment"] is not None, "the first deployment")
        await feed_pairs(settings, 1, 3)
        told = await until(stream, lambda s: s["run"] is not None, "a run")
        await finish_training(settings, told["run"]["run_id"], adapter=adapter)
        await until(stream, lambda s: s["deployment"]["experiment"] is not None, "an experiment in the deployment")
        await order(stream, "stop", reason="it is rude")
        told = await until(stream, lambda s: not s["busy"] and s["experiment"]["verdict"] != "CONTINUE", "the end of the experiment")
        assert (told["experiment"]["verdict"], told["experiment"]["stopped_by"]) == ("INCONCLUSIVE", "operator ann: it is rude")
        assert (told["deployment"]["champion"], told["deployment"]["challenger"]) == ("base", None)
        assert adapter not in next(iter(server.held.values()))
        await order(stream, "stop", status=409)

        await order(stream, "promote", target="v1.0")
        await until(stream, lambda s: not s["busy"] and s["deployment"]["champion"] == adapter, "the promotion")
        assert adapter in next(iter(server.held.values()))
    # A crash after the order and before anything came of it.
    back = e.OperatorActed(occurred_at=e.now(), experiment_id="none", action="rollback", operator="ann", reason="worse", target="base")
    await with_bus(settings, lambda bus: bus.publish(back))
    async with running(settings, server, monkeypatch) as stream:
        told = await until(stream, lambda s: not s["busy"] and s["deployment"]["champion"] == "base", "the roll-back")
        assert told["deployment"]["cause"] == "operator ann: worse"
        revision = told["deployment"]["revision"]
        entries = await stream.parts.ledger.ask(audit_entries, 100)
        assert [(entry.what, entry.who) for entry in entries[:2]] == [("deployed", "ann"), ("rollback", "ann")]
        assert next(entry for entry in entries if entry.what == "verdict INCONCLUSIVE").who == "ann"
        assert await replayed(settings) == await stream.parts.ledger.ask(ledger_hash)
    # Another start changes nothing: what is carried out stays carried out.
    async with running(settings, server, monkeypatch) as stream:
        await until(stream, lambda s: not s["busy"], "the start")
        await order(stream, "pause")
        told = await until(stream, lambda s: s["operators"]["paused"] is not None, "the pause")
        assert told["deployment"]["revision"] == revision
    orders = [event.order for event in await published(settings, "csqa.deployments") if isinstance(event, e.DeploymentChanged)]
    assert orders[-1] == back.event_id
    assert orders.count(back.event_id) == 1


async def test_a_pause_holds_back_the_next_run_and_an_experiment_may_be_rolled_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter, server = adapter_in(settings.adapters, b"tensors"), FakeModelServer()
    async with running(settings, server, monkeypatch) as stream:
        await until(stream, lambda s: s["deployment"] is not None, "the first deployment")
        await order(stream, "pause")
        await feed_pairs(settings, 1, 3)
        told = await until(stream, lambda s: s["pairs"]["fresh"] == 3, "the pairs")
        await stream.parts.decider.beat()
        assert (await until(stream, lambda _: True, "an answer"))["run"] is None
        assert not told["busy"]
        await order(stream, "resume")
        told = await until(stream, lambda s: s["run"] is not None, "a run")
        await finish_training(settings, told["run"]["run_id"], adapter=adapter)
        told = await until(stream, lambda s: s["deployment"]["experiment"] is not None, "an experiment in the deployment")
        await order(stream, "pause")
        await play_users(settings, told["experiment"]["id"], 120, challenger_up=False)
        told = await until(stream, lambda s: not s["busy"] and s["experiment"]["verdict"] != "CONTINUE", "a verdict")
        assert (told["experiment"]["verdict"], told["deployment"]["champion"]) == ("ROLL_BACK", "base")
        refused = await order(stream, "promote", target=adapter, status=409)
        assert "rolled" in refused["detail"]
        await order(stream, "promote", target=adapter, override=True)
        await until(stream, lambda s: s["deployment"]["champion"] == adapter, "the promotion against all advice")
