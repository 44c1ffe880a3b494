"""The gateway on a real broker that comes late, dies and comes back empty; and on a real vLLM."""

import asyncio
import time
from pathlib import Path

import pytest

from csqa_loop.events.topics import CHATS, FEEDBACK
from tests.brokers import Broker
from tests.fakes.model_server import FakeModelServer
from tests.gateways import QUESTION, gateway, is_ready, parts_on, recorded, stock, until
from tests.vllm import Vllm


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


async def test_without_a_spool_a_broker_that_comes_late_dies_and_comes_back_empty(mortal_broker: Broker, tmp_path: Path) -> None:
    mortal_broker.kill()
    parts = parts_on(mortal_broker, tmp_path, spool={"enabled": False})
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
