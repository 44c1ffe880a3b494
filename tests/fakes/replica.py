"""A vLLM replica on a socket, for what goes wrong between it and us."""

import asyncio
from typing import Any

import orjson


class Replica:
    """A vLLM over raw HTTP that does as told."""

    def __init__(self, *held: str) -> None:
        self.held = {"base", *held}
        self.asked: list[str] = []
        self.healthy = True
        self.status = 200
        self.hang = False
        self.refuses_adapters = False
        self.pieces: list[bytes] = []
        self.end_early = False
        self.close_idle = False
        self.connections = 0
        self.released = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next((int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0)
                body = orjson.loads(await reader.readexactly(length)) if length else {}
                if self.hang:
                    await self.released.wait()
                if not await self._reply(head.split(" ")[1], body, writer) or self.close_idle:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _reply(self, path: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        if path == "/health":
            return await send(writer, 200 if self.healthy else 503, b"")
        if path == "/v1/models":
            return await send(writer, 200, orjson.dumps({"data": [{"id": name} for name in sorted(self.held)]}))
        if path == "/v1/load_lora_adapter":
            if self.refuses_adapters:
                return await send(writer, 400, b'{"error":{"message":"no room"}}')
            self.held.add(body["lora_name"])
            return await send(writer, 200, b"")
        if path == "/v1/unload_lora_adapter":
            self.held.discard(body["lora_name"])
            return await send(writer, 200, b"")
        name = body.get("model", "base")
        self.asked.append(name)
        if name not in self.held:
            return await send(writer, 404, b'{"error":{"message":"The model does not exist.","code":404}}')
        if self.status != 200:
            return await send(writer, self.status, b'{"error":{"message":"told to"}}')
        if body.get("stream"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for piece in self.pieces:
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
                await asyncio.sleep(0)
            if self.end_early:
                return False
            writer.write(b"0\r\n\r\n")
            return True
        answer = {
            "choices": [{"message": {"content": f"{name} here"}, "finish_reason": "stop", "logprobs": None}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        }
        return await send(writer, 200, orjson.dumps(answer))


async def send(writer: asyncio.StreamWriter, status: int, body: bytes) -> bool:
    writer.write(b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
    await writer.drain()
    return True


def said(text: str, reason: str | None = None) -> bytes:
    return (
        b"data: "
        + orjson.dumps({"choices": [{"delta": {"content": text}, "finish_reason": reason, "logprobs": {"content": [{"logprob": -0.5}]}}]})
        + b"\n\n"
    )
