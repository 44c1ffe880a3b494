"""The gateway on a real broker that comes late, dies and comes back empty; and on a real vLLM."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from csqa_loop.bootstrap import build_gateway
from csqa_loop.events import DeploymentChanged, Event, PolicyPublished, now
from csqa_loop.events.topics import CHATS, FEEDBACK
from csqa_loop.events.wire import decode
from csqa_loop.gateway.app import create_app
from csqa_loop.gateway.parts import Parts
from csqa_loop.knowledge.indexing import VectorCache, index_policy
from csqa_loop.knowledge.rules.versions import policy_version
from csqa_loop.log import KafkaBus, read_to_end
from csqa_loop.settings import Settings
from tests.brokers import Broker
from tests.fakes.encoder import FakeEncoder
from tests.fakes.model_server import FakeModelServer
from tests.vllm import Vllm

TEXT = "# Returns\n\n## Electronics\n\nYou have 14 days from delivery to return electronics.\n"
QUESTION: dict[str, Any] = {
    "model": "csqa",
    "messages": [{"role": "user", "content": "How many days do I have to return electronics?"}],
    "temperature": 0,
}


def parts_on(broker: Broker, var: Path, **settings: Any) -> Parts:
    parts = build_gateway(Settings(var=var, kafka={"servers": broker.servers, "request_timeout_seconds": 3.0}, **settings))
    parts.load_encoder = FakeEncoder
    return parts


@asynccontextmanager
async def gateway(parts: Parts) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(parts)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        yield client


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/ready")).status_code == 200


async def stock(parts: Parts) -> None:
    """What indexer and loop publish."""
    bus = KafkaBus(parts.settings.kafka, parts.settings.kafka_servers)
    await bus.start()
    await bus.ensure_topics()
    published = PolicyPublished(occurred_at=now(), policy_id="returns", version=policy_version(TEXT), title="Returns", text=TEXT)
    encoder = FakeEncoder()
    indexed = await index_policy(published, encoder, VectorCache(encoder.name), chunk_characters=700, now=now())
    await bus.publish(published, indexed, DeploymentChanged(occurred_at=now(), revision=1, champion="base"))
    await bus.stop()


async def recorded(parts: Parts, *topics: str) -> dict[str, Event]:
    events = [
        decode(record.topic, record.value) async for record in read_to_end(parts.settings.kafka_servers, parts.settings.kafka, topics)
    ]
    return {str(event.event_id): event for event in events}


async def test_what_is_accepted_is_in_the_log(mortal_broker: Broker, tmp_path: Path) -> None:
    parts = parts_on(mortal_broker, tmp_path)
    parts.model = FakeModelServer()
    await stock(parts)
    async with gateway(parts) as client:
        await until(lambda: is_ready(client))
        extras = [(await client.post("/v1/chat/completions", json=QUESTION)).json()["csqa"] for _ in range(5)]
        accepted = {extra[field] for extra in extras for field in ("event_id", "exposure_event_id")}
        for extra in extras:
            body = {"message_id": extra["message_id"], "token": extra["feedback_token"], "thumb": "up"}
            accepted.add((await client.post("/v1/feedback", json=body)).json()["event_id"])
        assert set(await recorded(parts, CHATS, FEEDBACK)) == accepted
        assert {extra["citations"][0]["policy_id"] for extra in extras} == {"returns"}


async def test_a_broker_that_comes_late_dies_and_comes_back_empty(mortal_broker: Broker, tmp_path: Path) -> None:
    mortal_broker.kill()
    parts = parts_on(mortal_broker, tmp_path)
    parts.model = FakeModelServer()
    async with gateway(parts) as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.post("/v1/chat/completions", json=QUESTION)).status_code == 503
        await asyncio.to_thread(mortal_broker.start)
        await stock(parts)
        await until(lambda: is_ready(client))
        extra = (await client.post("/v1/chat/completions", json=QUESTION)).json()["csqa"]

        mortal_broker.kill()
        feedback = {"message_id": extra["message_id"], "token": extra["feedback_token"], "thumb": "up"}
        for path, body in (("/v1/chat/completions", QUESTION), ("/v1/feedback", feedback)):
            began = time.monotonic()
            response = await client.post(path, json=body)
            assert response.status_code == 503, response.text
            assert time.monotonic() - began < 5
            assert response.headers["retry-after"]

        await asyncio.to_thread(mortal_broker.start)
        await stock(parts)
        await until(lambda: is_ready(client))

        async def answers() -> bool:
            return (await client.post("/v1/chat/completions", json=QUESTION)).status_code == 200

        await until(answers)
        response = await client.post("/v1/feedback", json=feedback)
        assert response.json()["event_id"] in await recorded(parts, FEEDBACK)


@pytest.mark.vllm
@pytest.mark.timeout(400)
async def test_a_real_model_answers_from_the_policy(vllm_server: Vllm, mortal_broker: Broker, tmp_path: Path) -> None:
    parts = parts_on(mortal_broker, tmp_path, model_server={"urls": (vllm_server.url,)})
    await stock(parts)
    async with gateway(parts) as client:
        await until(lambda: is_ready(client))
        body = (await client.post("/v1/chat/completions", json=QUESTION)).json()
        assert "14" in body["choices"][0]["message"]["content"]
        assert 0 < body["csqa"]["confidence"] <= 1
        streamed = await client.post("/v1/chat/completions", json=QUESTION | {"stream": True})
        assert streamed.text.endswith("data: [DONE]\n\n")
        assert len(await recorded(parts, CHATS)) == 4
