"""The real process of the loop, killed by SIGKILL between two decisions, and what the next one makes of it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from csqa_loop import events as e
from csqa_loop.settings import KafkaSettings, Settings
from tests.brokers import Broker, free_port
from tests.fakes.replica import Replica, send
from tests.loops import ADAPTER, feed_pairs, finish_training, published

KEY = "operator-key"
PATIENCE = 120.0
"""Starting the process imports a good deal, on a machine that may be busy."""


class Process:
    """`csqa loop`, and its console."""

    def __init__(self, settings: Settings, replica: str, gateway: int, log: Path) -> None:
        self._port = free_port()
        self._log = log
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("CSQA_")} | {
            "CSQA_VAR": str(settings.var), "CSQA_KAFKA__SERVERS": settings.kafka_servers, "CSQA_MODEL_SERVER__URLS": replica,
            "CSQA_OPERATOR_KEY": KEY, "CSQA_SECRET": "0" * 32, "CSQA_CONSOLE__PORT": str(self._port),
            "CSQA_GATEWAY__PORT": str(gateway),
            "CSQA_TRIGGER__MIN_PAIRS": "3", "CSQA_TRIGGER__MAX_PAIRS": "10", "CSQA_TRIGGER__PROGRESS_TIMEOUT_SECONDS": "600",
            "CSQA_PREFERENCES__GROUNDING": "off", "CSQA_PREFERENCES__MIN_USERS": "3", "CSQA_PREFERENCES__NEAR_DUPLICATE": "1.0",
        }  # fmt: skip

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.subprocess.Process]:
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "csqa_loop.cli", "loop", env=self._environment, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def ask(self, method: str, path: str, body: dict | None = None) -> dict | None:
        headers = {"Authorization": f"Bearer {KEY}"}
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._port}", headers=headers, trust_env=False, timeout=10) as client:
                answer = await client.request(method, path, json=body)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.status_code == 200 else None

    async def until(self, holds: Callable[[dict], bool], what: str, method: str = "GET", path: str = "/v1/status") -> dict:
        told = None
        try:
            async with asyncio.timeout(PATIENCE):
                while not ((told := await self.ask(method, path, {} if method == "POST" else None)) and holds(told)):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{what} did not happen within {PATIENCE:g} s; last: {told}; log: {self._log.read_text()[-3000:]}")
        assert told is not None
        return told


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
    loop = Process(settings, f"http://127.0.0.1:{ports[0]}", ports[1], tmp_path / "loop.log")
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
