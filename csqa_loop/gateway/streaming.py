"""Server-sent events: begun at once, kept open while there is nothing to say, and ended in order whatever happens."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from csqa_loop.gateway.leaving import CLIENT_LEFT, ended, has_left

_STATUS_SECONDS = 0.5
"""What fails within this time still fails with a status of its own, which clients know how to try again."""
_COMMENT = b": still here\n\n"


class EventStream(Response):
    """Sends the events of a generator, and stops it when the client disconnects, wherever it stands or waits.

    `last_words` makes the event that ends a stream whose generator raised after the headers were sent.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], *, keep_alive_seconds: float, last_words: Callable[[Exception], bytes]) -> None:
        self._events = events
        self._keep_alive = keep_alive_seconds
        self._last_words = last_words
        self._started = False
        self._sent = 0
        self.status_code = 200
        self.background = None
        # Proxies must hand on each event at once.
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI).

        Raises:
            Exception: what the generator raised before the headers were sent.
        """
        del scope
        sending, leaving = asyncio.ensure_future(self._send(send)), asyncio.ensure_future(has_left(receive))
        try:
            await asyncio.wait({sending, leaving}, timeout=_STATUS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            while not sending.done() and not leaving.done():
                await self._start(send)
                before = self._sent
                await asyncio.wait({sending, leaving}, timeout=self._keep_alive, return_when=asyncio.FIRST_COMPLETED)
                if self._sent == before and not sending.done() and not leaving.done():
                    await send({"type": "http.response.body", "body": _COMMENT, "more_body": True})
            if sending.done():
                sending.result()
                return
        finally:
            await ended(sending, leaving)
        if not self._started:
            self.status_code = CLIENT_LEFT
            await self._start(send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send) -> None:
        async with aclosing(self._events) as events:
            try:
                async for event in events:
                    await self._start(send)
                    self._sent += 1
                    await send({"type": "http.response.body", "body": event, "more_body": True})
            except Exception as error:  # a stream that has begun must end in order, also where the reason was not foreseen
                if not self._started:
                    raise
                await send({"type": "http.response.body", "body": self._last_words(error), "more_body": True})
        await self._start(send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self, send: Send) -> None:
        if not self._started:
            self._started = True
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
