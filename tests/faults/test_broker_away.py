"""The broker is killed, or hangs, under load and comes back: what the gateway accepted is in the log."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from csqa_loop.events import AnswerGiven, ArmExposed, Event
from csqa_loop.events.topics import BAD_CASES, CHATS, FEEDBACK
from csqa_loop.events.wire import decode
from csqa_loop.gateway.parts import Parts
from csqa_loop.log import read_to_end
from tests.brokers import Broker
from tests.fakes.model_server import FakeModelServer
from tests.faults.conftest import FULL
from tests.gateways import QUESTION, gateway, is_ready, parts_on, stock, until
from tests.waiting import eventually

pytestmark = pytest.mark.fault(5, "the broker is killed or hangs while customers ask")

CUSTOMERS = 4
MOST_SECONDS = 5.0


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def mortal(request: pytest.FixtureRequest) -> Broker:
    return request.getfixturevalue({"embedded": "mortal_broker", "kafka": "mortal_kafka"}[request.param])


class Customers:
    """They ask, streamed and not, and rate what they are told; `accepted` holds the events of what was accepted."""

    def __init__(self, client: httpx.AsyncClient, key: str) -> None:
        self._client = client
        self._key = {"Authorization": f"Bearer {key}"}
        self.accepted: set[str] = set()
        self.refused: list[str] = []
        self.slowest = 0.0
        self.over = asyncio.Event()

    async def run(self, number: int) -> None:
        turn = 0
        while not self.over.is_set():
            turn += 1
            extra = await self._ask(number, stream=bool(turn % 2))
            if extra is None:
                continue
            self.accepted |= {extra["event_id"], extra["exposure_event_id"]}
            thumb = {"message_id": extra["message_id"], "token": extra["feedback_token"], "thumb": "up"}
            case = {"message_id": extra["message_id"], "reason": "wrong", "reviewer": "alex"}
            for path, body in (("/v1/feedback", thumb), ("/v1/bad-cases", case)):
                response = await self._timed(path, body)
                if response.status_code == 202:
                    self.accepted.add(response.json()["event_id"])
                else:
                    self.refused.append(response.text)
            await asyncio.sleep(0.01)

    async def _ask(self, number: int, *, stream: bool) -> dict[str, Any] | None:
        response = await self._timed("/v1/chat/completions", QUESTION | {"stream": stream, "conversation_id": f"talk-{number}"})
        text = response.text
        if response.status_code != 200 or (stream and not text.endswith("data: [DONE]\n\n")):
            self.refused.append(text)
            return None
        whole: dict[str, Any] = json.loads(text.split("\n\n")[-3].removeprefix("data: ") if stream else text)
        extra: dict[str, Any] = whole["csqa"]
        return extra

    async def _timed(self, path: str, body: dict[str, Any]) -> httpx.Response:
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await self._client.post(path, json=body, headers=self._key)
        self.slowest = max(self.slowest, loop.time() - began)
        return response


async def in_order(parts: Parts) -> list[Event]:
    """What the log holds, each event once: the first of each id, of which all bodies are equal."""
    events: dict[str, Event] = {}
    bodies: dict[str, bytes | None] = {}
    async for record in read_to_end(parts.settings.kafka_servers, parts.settings.kafka, [CHATS, FEEDBACK, BAD_CASES]):
        event = decode(record.topic, record.value)
        events.setdefault(str(event.event_id), event)
        assert bodies.setdefault(str(event.event_id), record.value) == record.value
    return list(events.values())


def go_away(broker: Broker, how: str) -> bool:
    """Whether what it acknowledged before is still there."""
    if how == "hung":
        assert broker._process is not None
        os.killpg(broker._process.pid, signal.SIGSTOP)
        return True
    broker.kill()
    return broker.durable


async def come_back(broker: Broker, how: str) -> None:
    if how == "hung":
        assert broker._process is not None
        os.killpg(broker._process.pid, signal.SIGCONT)
    else:
        await asyncio.to_thread(broker.start)


@pytest.mark.parametrize(("how", "seconds"), [("killed", 3.0), ("hung", 3.0), *([("killed", 30.0)] if FULL else [])])
async def test_a_broker_that_goes_away_under_load_loses_nothing_that_was_accepted(
    mortal: Broker, tmp_path: Path, how: str, seconds: float
) -> None:
    parts = parts_on(mortal, tmp_path)
    parts.model = FakeModelServer()
    await stock(parts)
    async with gateway(parts) as client:
        await until(lambda: is_ready(client))
        customers = Customers(client, parts.secrets.operator_key)
        running = [asyncio.create_task(customers.run(number)) for number in range(CUSTOMERS)]
        await eventually(lambda: len(customers.accepted) > 100, "customers are answered")
        if not go_away(mortal, how):
            await asyncio.sleep(0.5)  # what was acknowledged went with the log in memory, and so did what is being acknowledged now
            customers.accepted.clear()
        before = len(customers.accepted)
        await asyncio.sleep(seconds)
        assert (await client.get("/ready")).status_code == 200
        assert len(customers.accepted) > before + 20 * seconds
        assert not customers.refused
        await come_back(mortal, how)
        after = len(customers.accepted)
        await eventually(lambda: len(customers.accepted) > after + 100, "customers are answered by a broker that is back", 30)
        customers.over.set()
        await asyncio.gather(*running)

        async def delivered() -> bool:
            return (await client.get("/ready")).json()["spool"]["events"] == 0

        await until(delivered, 60)
        assert not customers.refused
        assert customers.slowest < MOST_SECONDS
        assert "csqa_spool_bytes 0.0" in (await client.get("/metrics")).text
        events = await in_order(parts)
    assert customers.accepted <= {str(event.event_id) for event in events}
    exposed: set[str] = set()
    for event in events:
        if isinstance(event, ArmExposed):
            exposed.add(event.message_id)
        if isinstance(event, AnswerGiven) and str(event.event_id) in customers.accepted:
            assert event.message_id in exposed  # in the order in which they were accepted
