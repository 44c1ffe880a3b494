"""What a server can do to a connection: nothing that grows without end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from csqa_loop.answering.model.http_pool import BrokenError, HttpPool, TooLargeError

MIB = 1024 * 1024


@asynccontextmanager
async def sending(head: bytes, piece: bytes = b"", times: int = 0) -> AsyncIterator[tuple[HttpPool, list[int]]]:
    """A pool to a server that sends `head`, then `piece` so many times, and how many of those it got rid of."""
    sent: list[int] = [0]
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            for _ in range(times):
                writer.write(piece)
                await writer.drain()
                sent[0] += 1
            await ended.wait()
        except ConnectionError:
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    pool = HttpPool(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", 4)
    try:
        yield pool, sent
    finally:
        ended.set()
        pool.close()
        listener.close()


def body_of(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_server_waits_for_a_slow_reader(factory: type[asyncio.AbstractEventLoop]) -> None:
    async def run() -> None:
        async with sending(body_of(64 * MIB), b"x" * MIB, 64) as (pool, sent):
            reply = await pool.post("/", b"")
            before = -1
            while before != sent[0]:
                before = sent[0]
                await asyncio.sleep(0.1)
            assert reply._connection is not None
            assert reply._connection._ahead < 2 * MIB
            assert sent[0] < 32  # the rest waits in the kernel and there
            assert len(await reply.read(64 * MIB)) == 64 * MIB
            reply.close()
            assert len(pool._idle) == 1

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(asyncio.wait_for(run(), 30))


async def test_a_body_that_is_too_large_is_not_read_on() -> None:
    async with sending(body_of(64 * MIB), b"x" * MIB, 64) as (pool, sent):
        reply = await pool.post("/", b"")
        with pytest.raises(TooLargeError, match="1000 bytes"):
            await reply.read(1000)
        reply.close()
        assert sent[0] < 32
        assert pool._idle == []


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"HTTP/1.1 200 OK\r\n" + b"x-more: %s\r\n" % (b"y" * 1000) * 1000, "headers of more than"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", "not an HTTP response"),
        (b"SSH-2.0-OpenSSH\r\n", "not an HTTP response"),
    ],
)
async def test_what_is_no_response_is_said(head: bytes, why: str) -> None:
    async with sending(head) as (pool, _):
        with pytest.raises(BrokenError, match=why):
            await asyncio.wait_for(pool.post("/", b""), 10)
