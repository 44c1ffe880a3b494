"""The gateway is killed, or its disk torn or full, while events wait for the broker."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from csqa_loop.events.topics import BAD_CASES, CHATS, FEEDBACK
from tests.brokers import Broker, free_port
from tests.fakes.model_server import FakeModelServer
from tests.gateway_client import refused
from tests.gateways import QUESTION, gateway, is_ready, parts_on, recorded, stock, until

pytestmark = pytest.mark.fault(6, "a gateway is killed with events in its spool")

SPOOL = "spool/gateway-{port}"


@asynccontextmanager
async def process(var: Path, broker: Broker, port: int) -> AsyncIterator[tuple[subprocess.Popen[bytes], httpx.AsyncClient]]:
    """A gateway process until the block ends; then it is killed with signal 9, if it was not before."""
    with (var / "gateway.log").open("ab") as output:
        command = [sys.executable, "-m", "tests.faults.gateway_process", str(var), broker.servers, str(port)]
        running = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            yield running, client
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait(10)


async def ready(client: httpx.AsyncClient) -> bool:
    try:
        return await is_ready(client)
    except httpx.HTTPError:
        return False


async def accepted(client: httpx.AsyncClient, times: int) -> set[str]:
    """Ids of events of answers and thumbs, all accepted."""
    ids: set[str] = set()
    for _ in range(times):
        response = await client.post("/v1/chat/completions", json=QUESTION)
        assert response.status_code == 200, response.text
        extra = response.json()["csqa"]
        body = {"message_id": extra["message_id"], "token": extra["feedback_token"], "thumb": "up"}
        response = await client.post("/v1/feedback", json=body)
        assert response.status_code == 202, response.text
        ids |= {extra["event_id"], extra["exposure_event_id"], response.json()["event_id"]}
    return ids


async def in_log(parts: Any, ids: set[str]) -> None:
    async def there() -> bool:
        return ids <= set(await recorded(parts, CHATS, FEEDBACK, BAD_CASES))

    await until(there, 30)


@pytest.mark.parametrize("fixture", ["mortal_broker", pytest.param("mortal_kafka", marks=pytest.mark.kafka)])
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
async def test_what_a_killed_gateway_accepted_arrives_after_its_restart(
    request: pytest.FixtureRequest, fixture: str, torn: bool, tmp_path: Path
) -> None:
    broker: Broker = request.getfixturevalue(fixture)
    parts, port = parts_on(broker, tmp_path), free_port()
    await stock(parts)
    async with process(tmp_path, broker, port) as (running, client):
        await until(lambda: ready(client))
        before = await accepted(client, 3)
        broker.kill()
        ids = await accepted(client, 10) | (before if broker.durable else set())
        waiting = (await client.get("/ready")).json()["spool"]
        assert waiting["events"] == 30
        assert waiting["trouble"] == ""
        os.kill(running.pid, signal.SIGKILL)
        running.wait(10)
    if torn:
        [segment] = (tmp_path / SPOOL.format(port=port)).glob("*.spool")
        with segment.open("ab") as file:
            file.write(segment.read_bytes()[:50])  # a record that the crash cut short
    async with process(tmp_path, broker, port) as (_, client):  # while the broker is still away
        await asyncio.sleep(1.0)
        await asyncio.to_thread(broker.start)
        await in_log(parts, ids)
        await stock(parts)
        await until(lambda: ready(client))
        later = await accepted(client, 1)
        await in_log(parts, ids | later)
        assert (await client.get("/ready")).json()["spool"]["events"] == 0


async def test_a_full_spool_is_503_and_named_until_the_broker_is_back(mortal_broker: Broker, tmp_path: Path) -> None:
    parts = parts_on(mortal_broker, tmp_path, spool={"max_bytes": 64 * 1024})
    parts.model = FakeModelServer()
    await stock(parts)
    async with gateway(parts) as client:
        await until(lambda: is_ready(client))
        mortal_broker.kill()
        ids: set[str] = set()
        for _ in range(500):
            response = await client.post("/v1/chat/completions", json=QUESTION)
            if response.status_code != 200:
                break
            ids |= {response.json()["csqa"][name] for name in ("event_id", "exposure_event_id")}
        assert len(ids) > 20
        problem = refused(response, 503)
        assert f"the spool in {tmp_path}" in problem["detail"]
        assert "CSQA_SPOOL__MAX_BYTES = 65536" in problem["detail"]
        assert "is full" in (await client.get("/ready")).json()["spool"]["trouble"]
        await asyncio.to_thread(mortal_broker.start)
        await in_log(parts, ids)
        await until(lambda: answers(client))


async def answers(client: httpx.AsyncClient) -> bool:
    return (await client.post("/v1/chat/completions", json=QUESTION)).status_code == 200
