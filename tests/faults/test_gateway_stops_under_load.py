"""SIGTERM to a real gateway with open answers: it takes no more, finishes what it can, ends the rest with an error, and is gone in time."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from csqa_loop.events import AnswerGiven, ArmExposed, Chunk, DeploymentChanged, PolicyIndexed, PolicyPublished, now
from csqa_loop.events.wire import decode
from csqa_loop.knowledge.encoder import unit_rows
from csqa_loop.knowledge.rules.vectors import pack_vector
from csqa_loop.log import KafkaBus, read_to_end
from csqa_loop.settings import KafkaSettings
from tests.brokers import Broker, free_port
from tests.fakes.replica import Replica, said, send

pytestmark = pytest.mark.fault(11, "SIGTERM under load")

STOP_SECONDS = 8.0
"""The least that can be set: open answers have three of them."""
VECTOR = [1.0, 2.0, 3.0, 4.0]
TEXT = "You have 14 days to return electronics."


class Slow(Replica):
    """A piece every tenth of a second: as many as the question says in its last word, or without end. Embeds every text alike."""

    async def _reply(self, path: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        if path == "/v1/embeddings":
            data = [{"index": place, "embedding": VECTOR} for place, _ in enumerate(body["input"])]
            return await send(writer, 200, orjson.dumps({"data": data}))
        if not body.get("stream"):
            if path == "/v1/chat/completions":
                await self.released.wait()
            return await super()._reply(path, body, writer)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        word = body["messages"][-1]["content"].split()[-1]
        for number in range(int(word) if word.isdigit() else 10_000):
            piece = said(f"{number} ")
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0.1)
        end = said("end", "stop") + b"data: [DONE]\n\n"
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(end), end))
        return True


@asynccontextmanager
async def gateway(folder: Path, broker: Broker, model: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CSQA_")} | {
        "CSQA_VAR": str(folder), "CSQA_KAFKA": broker.servers, "CSQA_VLLM": model, "CSQA_GATEWAY__PORT": str(port), "CSQA_ENCODER__KIND": "openai",
        "CSQA_ENCODER__URL": f"{model}/v1", "CSQA_ENCODER__MODEL": "alike", "CSQA_STOP_SECONDS": str(STOP_SECONDS),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "csqa_loop.cli", "gateway", env=environment)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def publish_shop(bus: KafkaBus) -> None:
    await bus.ensure_topics()
    vector = pack_vector(unit_rows([VECTOR], len(VECTOR))[0])
    chunk = Chunk(chunk_id="returns@0123456789ab#0", section="Returns", text=TEXT, vector=vector)
    named: dict[str, Any] = {"occurred_at": now(), "policy_id": "returns", "version": "0123456789ab", "title": "Returns"}
    await bus.publish(
        PolicyPublished(**named, text=TEXT),
        PolicyIndexed(**named, encoder="openai/alike", dimension=len(VECTOR), chunks=(chunk,)),
        DeploymentChanged(occurred_at=now(), revision=1, champion="base"),
    )


async def until_ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if (await client.get("/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)


async def ask(
    client: httpx.AsyncClient, question: str, begun: asyncio.Semaphore, *, stream: bool = True
) -> tuple[int, list[dict[str, Any]], str]:
    """(status, events, last line)."""
    body = {"model": "csqa", "messages": [{"role": "user", "content": question}], "stream": stream}
    lines: list[str] = []
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for line in answer.aiter_lines():
            if line:
                lines.append(line)
            if len(lines) == 2:
                begun.release()
    events = [orjson.loads(line.removeprefix("data: ")) for line in lines if line.startswith(("data: {", "{"))]
    return answer.status_code, events, lines[-1]


@pytest.mark.parametrize("kafka_is_down", [False, True], ids=["all well", "Kafka down"])
async def test_open_answers_finish_or_end_with_an_error_and_the_gateway_is_gone_in_time(
    tmp_path: Path, mortal_broker: Broker, *, kafka_is_down: bool
) -> None:
    settings = KafkaSettings()
    bus = KafkaBus(settings, mortal_broker.servers)
    await bus.start()
    await publish_shop(bus)
    await bus.stop()
    replica = Slow()
    server = await asyncio.start_server(replica, "127.0.0.1", 0)
    model = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    begun = asyncio.Semaphore(0)
    async with (
        gateway(tmp_path, mortal_broker, model) as (process, url),
        httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client,
    ):
        await until_ready(client)
        endless = [asyncio.create_task(ask(client, "tell me without end", begun)) for _ in range(15)]
        short = [asyncio.create_task(ask(client, "how many days? 15", begun)) for _ in range(5)]
        waiting = [asyncio.create_task(ask(client, "wait", begun, stream=False)) for _ in range(3)]
        async with asyncio.timeout(20):
            for _ in range(20):
                await begun.acquire()
        if kafka_is_down:
            await asyncio.to_thread(mortal_broker.kill)
        process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
        assert time.monotonic() - told < STOP_SECONDS
        for status, events, _ in await asyncio.gather(*endless):
            assert status == 200
            assert (events[-1]["status"], events[-1]["error"]["type"]) == (503, "service_unavailable"), events[-1]
            assert "stopping" in events[-1]["detail"]
        for status, events, _ in await asyncio.gather(*waiting):
            assert (status, events[-1]["status"]) == (503, 503)
        ends = [last for _, _, last in await asyncio.gather(*short)]
        with pytest.raises(httpx.TransportError):
            await client.get("/ready")
    replica.released.set()
    server.close()
    if kafka_is_down:
        return
    assert ends == ["data: [DONE]"] * 5
    facts = [decode("csqa.chats", record.value) async for record in read_to_end(mortal_broker.servers, settings, ["csqa.chats"])]
    answers = [fact for fact in facts if isinstance(fact, AnswerGiven)]
    assert sum(isinstance(fact, ArmExposed) for fact in facts) == 23
    assert [answer.answer.split()[-1] for answer in answers] == ["end"] * 5
