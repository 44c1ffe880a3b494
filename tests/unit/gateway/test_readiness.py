"""When the gateway says that it is ready, in process, on fakes."""

import asyncio
from pathlib import Path

import httpx
import pytest

from csqa_loop.gateway.app import create_app
from tests.fakes.gateway import World
from tests.gateway_client import QUESTION, asked, refused


async def test_it_starts_before_kafka_and_becomes_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csqa_loop.gateway.parts._BEAT_SECONDS", 0.01)
    world = World(tmp_path).with_shop()
    world.bus.down = world.model.down = True
    app = create_app(world.parts)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/ready")).status_code == 503
        refused(await client.post("/v1/chat/completions", json=QUESTION), 503)
        world.bus.down = world.model.down = False
        assert world.parts._starting is not None
        await asyncio.wait_for(asyncio.shield(world.parts._starting), 5)
        ready = await client.get("/ready")
        assert ready.status_code == 200, ready.text
        assert ready.json()["deployment"] == 1
        await asked(client)


async def test_without_a_deployment_it_is_not_ready(tmp_path: Path) -> None:
    world = World(tmp_path)
    app = create_app(world.parts)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        assert world.parts._starting is not None
        await asyncio.wait_for(asyncio.shield(world.parts._starting), 5)
        assert "deployment" in (await client.get("/ready")).json()["missing"][0]
        world.deploy()
        assert (await client.get("/ready")).status_code == 200
