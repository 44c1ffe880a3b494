"""Nobody works on for a client that left, and one that waits is kept company. On real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from csqa_loop.answering.model.vllm import VllmServer
from csqa_loop.events import AnswerGiven, ArmExposed
from tests.fakes.gateway import World
from tests.fakes.odd_model_server import WELL, OddServer, listening
from tests.gateway_client import QUESTION
from tests.unit.gateway.live import Live, serving
from tests.waiting import eventually

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@asynccontextmanager
async def gateway(server: OddServer, var: Path, **settings: Any) -> AsyncIterator[tuple[World, Live]]:
    async with listening(server) as url:
        model_server = {"urls": (url,)} | settings.pop("model_server", {})
        world = World(var, model_server=model_server, **settings).with_shop()
        world.parts.model = VllmServer([url], world.settings.model_server, adapters=var)
        started = serving(world)
        live = await asyncio.to_thread(started.__enter__)
        try:
            yield world, live
        finally:
            await asyncio.to_thread(started.__exit__, None, None, None)


@asynccontextmanager
async def asking(live: Live, **fields: Any) -> AsyncIterator[asyncio.StreamReader]:
    """A client that leaves when the block ends."""
    host, port = live.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(QUESTION | fields).encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    try:
        yield reader
    finally:
        writer.transport.abort()


@BOTH
async def test_the_model_server_is_left_when_the_client_leaves_before_the_first_token(tmp_path: Path, stream: bool) -> None:
    server = OddServer(end="hang")
    async with gateway(server, tmp_path) as (world, live):
        async with asking(live, stream=stream):
            await asyncio.wait_for(server.arrived.wait(), 10)
            assert not server.left.is_set()
        await asyncio.wait_for(server.left.wait(), 3)
        assert len(world.bus.of_type(ArmExposed)) == 1
        assert world.bus.of_type(AnswerGiven) == []


@BOTH
async def test_no_model_is_asked_for_a_client_that_left_during_retrieval(tmp_path: Path, stream: bool) -> None:
    server = OddServer(WELL)
    async with gateway(server, tmp_path) as (world, live):
        release, waiting = asyncio.Event(), asyncio.Event()
        loop, encode = asyncio.get_running_loop(), world.encoder.encode_queries

        async def slowly(texts: Any) -> Any:
            loop.call_soon_threadsafe(waiting.set)
            await release.wait()
            return await encode(texts)

        world.encoder.encode_queries = slowly  # type: ignore[method-assign]
        async with asking(live, stream=stream):
            await asyncio.wait_for(waiting.wait(), 10)
        await left(world)
        live.loop.call_soon_threadsafe(release.set)
        await eventually(lambda: bool(world.encoder.queries), "retrieval ended")
        async with asking(live, stream=True) as reader:
            await asyncio.wait_for(reader.readuntil(b"[DONE]"), 10)
        assert server.asked == 1


@BOTH
async def test_no_model_is_asked_for_a_client_that_left_while_every_connection_was_taken(tmp_path: Path, stream: bool) -> None:
    server = OddServer(end="hang")
    async with gateway(server, tmp_path, model_server={"connections": 1}) as (world, live):
        async with asking(live, stream=True):
            await asyncio.wait_for(server.arrived.wait(), 10)
            async with asking(live, stream=stream):
                await eventually(lambda: len(world.bus.of_type(ArmExposed)) == 2, "the second waits")
            await left(world)
        server.sent, server.end = WELL, "whole"
        async with asking(live, stream=True) as reader:
            await asyncio.wait_for(reader.readuntil(b"[DONE]"), 10)
        assert server.asked == 2


async def test_a_client_that_leaves_while_it_sends_is_no_failure_of_ours(tmp_path: Path) -> None:
    async with gateway(OddServer(WELL), tmp_path) as (world, live):
        host, port = live.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        await writer.drain()
        writer.transport.abort()
        await left(world)
        assert world.parts.metrics.requests.labels("/v1/chat/completions", "499")._value.get() == 1


async def left(world: World) -> None:
    """Wait until the gateway has noticed, and counted, a request that ended."""
    counted = world.parts.metrics.latency.labels("/v1/chat/completions")._sum
    await eventually(lambda: counted.get() > 0, "the gateway noticed")


async def test_headers_come_at_once_and_comments_until_the_first_token(tmp_path: Path) -> None:
    server = OddServer(end="hang")
    async with gateway(server, tmp_path, gateway={"keep_alive_seconds": 0.2}) as (_, live), asking(live, stream=True) as reader:
        loop = asyncio.get_running_loop()
        began = loop.time()
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert loop.time() - began < 1.5
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"text/event-stream" in head
        for _ in range(3):
            await asyncio.wait_for(reader.readuntil(b": still here\n\n"), 5)


async def test_an_error_after_the_headers_is_an_event(tmp_path: Path) -> None:
    server = OddServer(end="hang")
    async with gateway(server, tmp_path, model_server={"first_token_seconds": 0.5}) as (_, live), asking(live, stream=True) as reader:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 200 ")
        body = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)
        assert b'"error":{"message":"' in body
        assert b"no token within 0.5 s" in body
        assert b"[DONE]" not in body
