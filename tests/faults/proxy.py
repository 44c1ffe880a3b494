"""A TCP proxy between a process and the broker that delays, drops and resets."""

import asyncio
import contextlib
import random


class Proxy:
    """Listens on a loopback port of its own and hands on to `host:port`, until told otherwise."""

    def __init__(self, target: str, rng: random.Random) -> None:
        self._host, _, self._port = target.rpartition(":")
        self._rng = rng
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.delay = 0.0
        """Seconds before each piece is handed on."""
        self.dropping = False
        """Nothing is handed on, and nobody is told."""

    async def listen(self, port: int) -> None:
        """Begin."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)

    async def stop(self) -> None:
        """End, with every connection."""
        if self._server is not None:
            self._server.close()
        self.reset()

    def reset(self) -> None:
        """Cut every connection as a crashed peer does."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            broker_reader, broker_writer = await asyncio.open_connection(self._host, int(self._port))
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, broker_writer}
        try:
            await asyncio.gather(self._hand_on(reader, broker_writer), self._hand_on(broker_reader, writer))
        finally:
            for each in (writer, broker_writer):
                self._open.discard(each)
                each.transport.abort()

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self._rng.uniform(0, self.delay))
                if self.dropping:
                    continue
                writer.write(piece)
                await writer.drain()
        writer.transport.abort()
