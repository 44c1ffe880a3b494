"""A model server that sends any bytes at all, and sees when it is left alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import orjson

End = Literal["close", "hang", "reset", "whole"]


class OddServer:
    """Answers health; everything else with `sent`, a write each, after `head`. `end` says what follows."""

    def __init__(self, sent: Sequence[bytes] = (), *, status: int = 200, end: End = "whole", chunked: bool = True) -> None:
        self.sent = list(sent)
        self.status = status
        self.end = end
        self.chunked = chunked
        self.raw = False
        """Whether `sent` is everything, without a head."""
        self.pause = 0.0
        """Seconds between writes."""
        self.asked = 0
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()
        """Set when the gateway closed a connection whose answer was not complete."""
        self._open: set[asyncio.Task[None]] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        except asyncio.CancelledError:
            return
        finally:
            self._open.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return False
        length = next((int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0)
        await reader.readexactly(length)
        if " /health " in head:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            return True
        self.asked += 1
        self.arrived.set()
        if not self.raw:
            kind = b"transfer-encoding: chunked" if self.chunked else b"content-length: %d" % sum(map(len, self.sent))
            writer.write(b"HTTP/1.1 %d X\r\ncontent-type: text/event-stream\r\n%s\r\n\r\n" % (self.status, kind))
        for piece in self.sent:
            if piece:
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if self.chunked and not self.raw else piece)
            await writer.drain()
            await asyncio.sleep(self.pause)
        if self.end == "whole":
            if self.chunked and not self.raw:
                writer.write(b"0\r\n\r\n")
            await writer.drain()
            return not self.raw
        if self.end == "hang":
            await reader.readexactly(1)
        elif self.end == "reset":
            writer.transport.abort()
        return False

    async def stop(self) -> None:
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


@asynccontextmanager
async def listening(server: OddServer) -> AsyncIterator[str]:
    """Its URL."""
    listener = await asyncio.start_server(server, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        await server.stop()
        listener.close()


def frame(*choices: object, **fields: object) -> bytes:
    """One event of a stream."""
    return b"data: " + orjson.dumps({"choices": list(choices), **fields}) + b"\n\n"


def token(text: object, reason: object = None) -> bytes:
    """One event with one token."""
    return frame({"index": 0, "delta": {"content": text}, "finish_reason": reason, "logprobs": {"content": [{"logprob": -0.5}]}})


DONE = b"data: [DONE]\n\n"
USAGE = frame(usage={"prompt_tokens": 3, "completion_tokens": 2})
WELL = [token("You have "), token("14 days", "stop"), USAGE, DONE]
