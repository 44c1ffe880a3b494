"""A gateway on a real broker, in process, and what it put into the log."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from csqa_loop.bootstrap import build_gateway
from csqa_loop.events import DeploymentChanged, Event, PolicyPublished, now
from csqa_loop.events.wire import decode
from csqa_loop.gateway.app import create_app
from csqa_loop.gateway.parts import Parts
from csqa_loop.knowledge.indexing import VectorCache, index_policies
from csqa_loop.knowledge.rules.versions import policy_version
from csqa_loop.log import KafkaBus, read_to_end
from csqa_loop.settings import Settings
from tests.brokers import Broker
from tests.fakes.encoder import FakeEncoder

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
    (indexed,) = await index_policies([published], encoder, VectorCache(encoder.name), chunk_characters=700, now=now())
    await bus.publish(published, indexed, DeploymentChanged(occurred_at=now(), revision=1, champion="base"))
    await bus.stop()


async def recorded(parts: Parts, *topics: str) -> dict[str, Event]:
    events = [
        decode(record.topic, record.value) async for record in read_to_end(parts.settings.kafka_servers, parts.settings.kafka, topics)
    ]
    return {str(event.event_id): event for event in events}
