"""The real process of the loop, killed by SIGKILL between two decisions, and what the next one makes of it."""

import asyncio
import signal
from pathlib import Path

import pytest

from csqa_loop import events as e
from csqa_loop.settings import KafkaSettings, Settings
from tests.brokers import Broker
from tests.fakes.replica import Replica, send
from tests.loop_process import LoopProcess
from tests.loops import ADAPTER, feed_pairs, finish_training, published

pytestmark = pytest.mark.fault(16, "the loop is killed between any two steps of a promotion, one of three replicas in trouble")


async def gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serves the revision in which the experiment begins."""
    await reader.readuntil(b"\r\n\r\n")
    await send(writer, 200, b'{"deployment": 3}')
    writer.close()


@pytest.mark.timeout(400)
async def test_a_loop_killed_between_candidate_and_experiment_is_carried_on(tmp_path: Path, mortal_broker: Broker) -> None:
    settings = Settings(var=tmp_path / "var", kafka=KafkaSettings(servers=mortal_broker.servers))
    replica = Replica()
    replica.refuses_adapters = True  # holds the loop where it is to be killed
    listeners = [await asyncio.start_server(served, "127.0.0.1", 0) for served in (replica, gateway)]
    ports = [listener.sockets[0].getsockname()[1] for listener in listeners]
    loop = LoopProcess(settings, tmp_path / "loop.log", replica=f"http://127.0.0.1:{ports[0]}", gateway=ports[1])
    async with loop.running() as process:
        await loop.until(lambda s: s["deployment"] is not None, "the first deployment")
        await feed_pairs(settings, 1, 3)
        told = await loop.until(lambda s: s["run"] is not None, "a run")
        await finish_training(settings, told["run"]["run_id"])
        told = await loop.until(lambda s: s["deployment"]["candidate"] == ADAPTER and s["unservable"], "a candidate that is refused")
        assert "no room" in told["unservable"][0]["reason"]
        assert told["experiment"] is None
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
    replica.refuses_adapters = False
    async with loop.running() as process:
        told = await loop.until(lambda s: s["deployment"]["experiment"] is not None, "an experiment in the deployment")
        assert (told["deployment"]["champion"], told["deployment"]["challenger"]) == ("base", ADAPTER)
        assert replica.held == {"base", ADAPTER}
        checked = await loop.until(lambda s: s["ok"], "a ledger that agrees with the model server", "POST", "/v1/ledger/check")
        assert [finding for finding in checked["findings"] if not finding["holds"]] == []
        process.terminate()
        await process.wait()
    for listener in listeners:
        listener.close()
    decided = [event.type for event in await published(settings, "csqa.decisions")]
    assert [what for what in decided if what != "LedgerOpened"] == ["ExperimentOpened"]
    requests = [event for event in await published(settings, "csqa.training") if isinstance(event, e.TrainingRequested)]
    assert len(requests) == 1
    revisions = [event.revision for event in await published(settings, "csqa.deployments") if isinstance(event, e.DeploymentChanged)]
    assert revisions == [1, 2, 3]
