"""Is a process healthy? One bounded question each, over the wire that its users use."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

HealthProbe = Callable[[], Awaitable[bool]]
"""True where the process answered that it is well. Never raises for a process that is down; returns within seconds."""

_API_VERSIONS = 18


def http_probe(url: str, timeout: float = 2.0) -> HealthProbe:
    """Healthy where `GET url` answers 2xx.

    Spelled out: asked every second of every process, and a client with its TLS context costs 20 ms of processor time each time.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    request = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()

    async def ask() -> bool:
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure or None)
                try:
                    writer.write(request)
                    version, status, *_ = (await reader.readline()).split(b" ")
                    return version.startswith(b"HTTP/1.") and status[:1] == b"2"
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError):
            return False

    return ask


def any_of(*probes: HealthProbe) -> HealthProbe:
    """Healthy where at least one replica is, as users are then served."""

    async def ask() -> bool:
        return any(await asyncio.gather(*(probe() for probe in probes)))

    return ask


def kafka_probe(servers: str, timeout: float = 2.0) -> HealthProbe:
    """Healthy where one of `host:port,...` answers Kafka's ApiVersions request: an open port alone says nothing.

    Spelled out (Kafka protocol, ApiVersions v0) because a client library logs every refused connection as an error.
    """

    async def ask_server(server: str) -> bool:
        host, _, port = server.strip().rpartition(":")
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
                try:
                    request = struct.pack(">hhih4s", _API_VERSIONS, 0, 1, 4, b"csqa")
                    writer.write(struct.pack(">i", len(request)) + request)
                    await writer.drain()
                    _, correlation, error = struct.unpack(">iih", await reader.readexactly(10))
                    return bool(correlation == 1 and error == 0)
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            return False

    async def ask() -> bool:
        return any(await asyncio.gather(*(ask_server(server) for server in servers.split(",") if server.strip())))

    return ask
