"""Probes tell a process that works from an open port."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from csqa_loop.local.probes import any_of, http_probe, kafka_probe

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[str]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def broker(*, correlation: int = 1, error: int = 0) -> Handler:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack(">i", await reader.readexactly(4))
        key, version = struct.unpack(">hh", (await reader.readexactly(length))[:4])
        assert (key, version) == (18, 0)
        writer.write(struct.pack(">iihi", 10, correlation, error, 0))
        await writer.drain()
        writer.close()

    return answer


async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)
    writer.close()


async def hangs_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def http(status: str) -> Handler:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    return answer


@pytest.mark.parametrize(
    ("handler", "well"), [(broker(), True), (broker(error=35), False), (broker(correlation=9), False), (hangs_up, False), (silent, False)]
)
async def test_kafka(handler: Handler, well: bool) -> None:
    async with listening(handler) as address:
        assert await kafka_probe(address, timeout=0.2)() is well
        assert await kafka_probe(f"127.0.0.1:1,{address}", timeout=0.2)() is well, "one broker of a cluster is enough"


@pytest.mark.parametrize("servers", ["127.0.0.1:1", "no port", "", "host:port"])
async def test_kafka_that_is_not_there(servers: str) -> None:
    assert await kafka_probe(servers, timeout=0.2)() is False


@pytest.mark.parametrize(
    ("handler", "well"), [(http("200 OK"), True), (http("503 Service Unavailable"), False), (hangs_up, False), (silent, False)]
)
async def test_http(handler: Handler, well: bool) -> None:
    async with listening(handler) as address:
        assert await http_probe(f"http://{address}/health", timeout=0.2)() is well
        assert await any_of(http_probe("http://127.0.0.1:1/"), http_probe(f"http://{address}/health", timeout=0.2))() is well
