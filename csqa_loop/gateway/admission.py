"""Which chat requests are taken, and how long they may take: a bound on those that are open, and an end in order when the gateway stops."""

import asyncio
from collections.abc import Callable

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from csqa_loop.http.problems import Problem

_CHAT = "/v1/chat/completions"
STOPPING = "the gateway is stopping; ask again, another one answers"


class Admission:
    """Counts open chat requests, and ends those that are still open `finish_seconds` after `stop`."""

    def __init__(self, most_open: int, finish_seconds: float) -> None:
        self._most_open = most_open
        self._finish_seconds = finish_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: set[asyncio.Timeout] = set()
        self.stopping = False
        self.gives_up: Callable[[], None] = lambda: None
        """Called before open requests are ended: what was said so far is no answer."""

    @property
    def open(self) -> int:
        """Chat requests under way."""
        return len(self._open)

    def start(self) -> None:
        """In the event loop that will run."""
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Take no more. May be called in a signal's handler, and more than once."""
        if not self.stopping:
            self.stopping = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.call_later, self._finish_seconds, self._end)

    def admit(self) -> asyncio.Timeout:
        """What bounds one request; `leave` it afterwards.

        Raises:
            Problem: 503, at once.
        """
        if self.stopping:
            raise Problem(503, detail=STOPPING)
        if len(self._open) >= self._most_open:
            raise Problem(503, detail=f"{len(self._open)} chat requests are open, more than {self._most_open} may not be; ask again")
        limit = asyncio.timeout(None)
        self._open.add(limit)
        return limit

    def leave(self, limit: asyncio.Timeout) -> None:
        """The request has ended."""
        self._open.discard(limit)

    def _end(self) -> None:
        self.gives_up()
        for limit in tuple(self._open):
            limit.reschedule(asyncio.get_running_loop().time())


class Admitted:
    """Plain ASGI. A request that is ended gets 503; a stream that has begun gets the same as its last event, and ends."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer (ASGI)."""
        if scope["type"] != "http" or scope["path"] != _CHAT or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        begun = False

        async def noting_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            limit = self._admission.admit()
        except Problem as refusal:
            await refusal.response()(scope, receive, send)
            return
        try:
            async with limit:
                await self._app(scope, receive, noting_send)
        except TimeoutError:
            if not limit.expired():
                raise
            ended = Problem(503, detail=STOPPING)
            if begun:
                event = b"data: " + orjson.dumps(ended.body()) + b"\n\n"
                await send({"type": "http.response.body", "body": event, "more_body": False})
            else:
                await ended.response()(scope, receive, send)
        finally:
            self._admission.leave(limit)
