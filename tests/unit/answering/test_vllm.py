"""What `VllmServer` does when replicas lack adapters, die, hang or break off. The happy paths are in the contract suite."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from csqa_loop.answering.model.vllm import VllmServer
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import ChatMessage, Sampling
from csqa_loop.settings import ModelServerSettings
from tests.fakes.replica import Replica, said

MESSAGES = (ChatMessage(role="user", content="hello"),)
SAMPLING = Sampling(temperature=0.0, top_p=1.0, max_tokens=8, seed=1)
ADAPTER, CHAMPION = "a-" + "1" * 16, "a-" + "2" * 16


@asynccontextmanager
async def running(*replicas: Replica, seconds: float = 20.0, watch: bool = False) -> AsyncIterator[VllmServer]:
    listeners = [await asyncio.start_server(replica, "127.0.0.1", 0) for replica in replicas]
    urls = [f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}" for listener in listeners]
    server = VllmServer(urls, ModelServerSettings(timeout_seconds=seconds), adapters=Path("adapters"))
    if watch:
        await server.start()
    try:
        yield server
    finally:
        await server.stop()
        for replica, listener in zip(replicas, listeners, strict=True):
            replica.released.set()
            listener.close()


async def answer_of(server: VllmServer, name: str = ADAPTER) -> str:
    return (await server.generate(name, MESSAGES, SAMPLING, fallback=CHAMPION)).adapter


async def until(condition: Callable[[], bool], seconds: float = 8.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_requests_go_round() -> None:
    replicas = Replica(), Replica(), Replica()
    async with running(*replicas) as server:
        for _ in range(9):
            await answer_of(server, "base")
    assert [len(replica.asked) for replica in replicas] == [3, 3, 3]


async def test_a_replica_without_the_adapter_is_passed_over_and_remembered() -> None:
    without, holding = Replica(), Replica(ADAPTER)
    async with running(without, holding) as server:
        for _ in range(6):
            assert await answer_of(server) == ADAPTER
    assert len(holding.asked) == 6
    assert without.asked.count(ADAPTER) == 1


async def test_the_champion_answers_when_no_replica_holds_the_adapter() -> None:
    async with running(Replica(), Replica(CHAMPION)) as server:
        assert await answer_of(server) == CHAMPION
    async with running(Replica()) as server:
        assert await answer_of(server) == "base"


async def test_a_loaded_adapter_is_used_at_once() -> None:
    replica = Replica()
    async with running(replica) as server:
        assert await answer_of(server) == "base"
        replica.held.add(ADAPTER)
        await server.load(next(iter(await server.resident())), ADAPTER)
        assert await answer_of(server) == ADAPTER


async def test_a_dead_replica_is_passed_over() -> None:
    alive, dead = Replica(), Replica()
    async with running(alive, dead) as server:
        gone = VllmServer((server._replicas[0].url, "http://127.0.0.1:1"), ModelServerSettings(), adapters=Path("adapters"))
        assert {await answer_of(gone, "base") for _ in range(4)} == {"base"}
        assert set(await gone.resident()) == {server._replicas[0].url}
        await gone.stop()


async def test_nobody_there_is_said_at_once() -> None:
    server = VllmServer(("http://127.0.0.1:1",), ModelServerSettings(), adapters=Path("adapters"))
    began = time.monotonic()
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1"):
        await answer_of(server)
    with pytest.raises(TransientError):
        await server.load("http://127.0.0.1:1", ADAPTER)
    assert time.monotonic() - began < 2
    assert await server.resident() == {}
    await server.stop()


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_failing_replica_is_passed_over(status: int) -> None:
    failing, working = Replica(), Replica()
    failing.status = status
    async with running(failing, working) as server:
        assert {await answer_of(server, "base") for _ in range(4)} == {"base"}
    async with running(failing) as server:
        with pytest.raises(TransientError, match="told to"):
            await answer_of(server, "base")


async def test_a_refused_request_is_not_tried_elsewhere() -> None:
    first, second = Replica(), Replica()
    first.status = second.status = 400
    async with running(first, second) as server:
        with pytest.raises(PermanentError, match="told to"):
            await answer_of(server, "base")
    assert len(first.asked) + len(second.asked) == 1


async def test_a_connection_closed_while_idle_is_no_outage() -> None:
    replica = Replica()
    replica.close_idle = True
    async with running(replica) as server:
        for _ in range(5):
            assert await answer_of(server, "base") == "base"
    assert replica.connections == 5


def test_the_same_on_uvloop() -> None:
    """What the gateway runs on; its transports are not those of asyncio."""

    async def ask_and_stream() -> None:
        replica = Replica()
        replica.pieces = [said("one "), said("two", "stop")]
        async with running(replica) as server:
            for _ in range(3):
                assert await answer_of(server, "base") == "base"
                assert await collect(server) == ["one ", "two", ""]
        assert replica.connections == 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask_and_stream())


async def test_a_replica_that_hangs_fails_requests_within_seconds_and_comes_back() -> None:
    replica = Replica()
    async with running(replica, watch=True, seconds=60) as server:
        assert not server.answering  # nobody has asked it yet
        assert await answer_of(server, "base") == "base"
        await until(lambda: server.answering)
        replica.hang = True
        began = time.monotonic()
        with pytest.raises(TransientError):
            await answer_of(server, "base")
        assert time.monotonic() - began < 5
        assert not server.answering
        began = time.monotonic()
        with pytest.raises(TransientError, match="is down"):
            await answer_of(server, "base")
        assert time.monotonic() - began < 0.5
        replica.hang = False
        replica.released.set()
        await until(lambda: server.answering)
        assert await answer_of(server, "base") == "base"


async def test_a_generation_has_a_bound() -> None:
    replica = Replica()
    replica.hang = True
    async with running(replica, seconds=0.2) as server:
        with pytest.raises(TransientError, match="does not answer"):
            await answer_of(server, "base")


async def collect(server: VllmServer) -> list[str]:
    return [delta.text async for delta in server.stream("base", MESSAGES, SAMPLING, fallback="base")]


async def test_a_stream_that_ends_early_is_an_error_after_its_pieces() -> None:
    for pieces, early in (
        ([said("one "), said("two ")], True),
        ([said("one "), said("two ")], False),
        ([said("one "), b'data: {"error":{"message":"the engine died"}}\n\n', b"data: [DONE]\n\n"], False),
        ([said("one "), b"data: {broken\n\n"], False),
    ):
        replica = Replica()
        replica.pieces, replica.end_early = pieces, early
        async with running(replica) as server:
            stream = server.stream("base", MESSAGES, SAMPLING, fallback="base")
            assert (await anext(stream)).text == "one "
            with pytest.raises(TransientError):
                _ = [delta async for delta in stream]


async def test_a_stream_that_no_replica_begins_is_tried_on_the_next() -> None:
    failing, working = Replica(), Replica()
    failing.status = 500
    working.pieces = [said("one "), said("two", "stop"), b": a comment\n\n", b"data: [DONE]\n\n"]
    async with running(failing, working) as server:
        for _ in range(3):
            assert await collect(server) == ["one ", "two", ""]


async def test_a_replica_that_dies_in_mid_stream_ends_it() -> None:
    replica = Replica()
    replica.pieces = [said("one ")]
    proceed: Callable[[], Awaitable[bool]] = replica.released.wait

    async def stuck(path: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        if path != "/v1/chat/completions":
            return await Replica._reply(replica, path, body, writer)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%s\r\n" % (len(replica.pieces[0]), replica.pieces[0]))
        await writer.drain()
        replica.hang = True
        await proceed()
        return False

    replica._reply = stuck  # type: ignore[method-assign]
    async with running(replica, watch=True, seconds=60) as server:
        stream = server.stream("base", MESSAGES, SAMPLING, fallback="base")
        assert (await anext(stream)).text == "one "
        began = time.monotonic()
        with pytest.raises(TransientError, match="broke off"):
            await anext(stream)
        assert time.monotonic() - began < 6
