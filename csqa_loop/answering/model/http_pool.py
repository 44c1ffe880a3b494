"""Kept HTTP/1.1 connections to one server, for requests that wait long and come often.

httpx's pool looks at every connection for each connection it has, on every request: with the hundred open requests that a model server
means, that was 80 % of the gateway's CPU time (measured with cProfile, 50 ms a generation, 200 requests/s). Parsing is llhttp's, as in uvicorn.
"""

import asyncio
import ssl
import time
from collections import deque
from typing import cast
from urllib.parse import urlsplit

import httptools

_CONNECT_SECONDS = 2.0
_KEEPALIVE_SECONDS = 4.0
"""uvicorn, in front of vLLM, closes an idle connection after 5 s: ours must be gone before."""
_HEAD_BYTES = 256 * 1024
_AHEAD_BYTES = 256 * 1024
"""How much of a body waits for its reader; then the server is made to wait."""


class ConnectError(Exception):
    """No connection, or not in time."""


class BrokenError(Exception):
    """The connection ended before the response did."""


class TooLargeError(Exception):
    """The body is larger than it may be."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than the {limit} bytes that a reply may have")


class _Connection(asyncio.Protocol):
    """One connection; one exchange at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self.status = 0
        self.complete = False
        self.keep = False
        self.pieces: deque[bytes] = deque()
        self._head = 0
        self._ahead = 0
        self._paused = False
        self._error: Exception | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None

    def begin(self, request: bytes) -> None:
        """Send the next request."""
        self.status, self.complete, self.keep, self._error = 0, False, False, None
        self._head = self._ahead = 0
        self._parser = httptools.HttpResponseParser(self)
        assert self.transport is not None
        self.transport.write(request)

    async def progress(self) -> None:
        """Wait until more of the response is here.

        Raises:
            BrokenError: no more will come.
        """
        if self._error:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Asyncio."""
        if self._parser is None or self.complete:
            self.abort()  # no request is open: these bytes could not be told from the next response
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(BrokenError(f"not an HTTP response: {error!r}"))
            self.abort()
        if self.status < 200:
            self._head += len(data)
            if self._head > _HEAD_BYTES:
                self._fail(BrokenError(f"headers of more than {_HEAD_BYTES} bytes"))
                self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio."""
        self.closed = True
        if not self.complete:
            self._fail(BrokenError(f"the connection ended ({exc!r})" if exc else "the connection was closed"))

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        assert self._parser is not None
        self.status = self._parser.get_status_code()
        self._wake()

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self.pieces.append(body)
        self._ahead += len(body)
        if self._ahead > _AHEAD_BYTES and not self._paused and self.transport is not None and not self.closed:
            self._paused = True
            self.transport.pause_reading()
        self._wake()

    def next_piece(self) -> bytes:
        """The bytes that came first; the server may send on when little is left."""
        piece = self.pieces.popleft()
        self._ahead -= len(piece)
        if self._paused and self._ahead <= _AHEAD_BYTES // 2 and self.transport is not None and not self.closed:
            self._paused = False
            self.transport.resume_reading()
        return piece

    def on_message_complete(self) -> None:
        """Called by the parser."""
        assert self._parser is not None
        if self.status < 200:
            return  # 100 Continue; the response follows
        self.complete = True
        self.keep = self._parser.should_keep_alive()
        self._wake()

    def abort(self) -> None:
        """Close at once."""
        self.closed = True
        if self.transport is not None:
            self.transport.abort()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            if self._error:
                waiter.set_exception(self._error)
            else:
                waiter.set_result(None)


class Reply:
    """A response whose body may still be on its way. Close it."""

    def __init__(self, pool: "HttpPool", connection: _Connection) -> None:
        self._pool = pool
        self._connection: _Connection | None = connection
        self.status = connection.status

    async def piece(self) -> bytes | None:
        """The next bytes of the body; None at its end.

        Raises:
            BrokenError: the connection ended first.
        """
        connection = self._connection
        if connection is None:
            return None
        while not connection.pieces:
            if connection.complete:
                return None
            await connection.progress()
        return connection.next_piece()

    async def read(self, limit: int) -> bytes:
        """The whole body, of at most `limit` bytes.

        Raises:
            BrokenError: the connection ended first.
            TooLargeError: it is larger.
        """
        body = bytearray()
        while (piece := await self.piece()) is not None:
            body += piece
            if len(body) > limit:
                raise TooLargeError(limit)
        return bytes(body)

    def close(self) -> None:
        """Keep the connection where the response is complete, else end it: that tells the server to stop. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.take_back(connection)


class HttpPool:
    """Connections to the server of one URL, at most `connections` at a time."""

    def __init__(self, url: str, connections: int) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._ssl else 80)
        self._prefix = parts.path.rstrip("/")
        self._authority = parts.netloc.rpartition("@")[2]
        self._free = asyncio.Semaphore(connections)
        self._idle: list[tuple[_Connection, float]] = []

    async def post(self, path: str, content: bytes) -> Reply:
        """Send JSON and return once the response's status is known.

        Raises:
            ConnectError: no connection.
            BrokenError: it ended without a response.
        """
        await self._free.acquire()
        connection: _Connection | None = None
        try:
            connection = self._reusable() or await self._connect()
            head = f"POST {self._prefix}{path} HTTP/1.1\r\nHost: {self._authority}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
            connection.begin(head.encode() + content)
            while connection.status < 200:
                await connection.progress()
        except (
            BaseException
        ):  # also a cancelled request: its slot is freed, and a connection in the middle of an exchange must not be reused
            self._free.release()
            if connection is not None:
                connection.abort()
            raise
        return Reply(self, connection)

    def take_back(self, connection: _Connection) -> None:
        """Keep or close the connection after one exchange."""
        self._free.release()
        if connection.complete and connection.keep and not connection.closed and not connection.pieces:
            self._idle.append((connection, time.monotonic()))
        else:
            connection.abort()

    def close(self) -> None:
        """End idle connections; those in use end with their reply."""
        while self._idle:
            self._idle.pop()[0].abort()

    def _reusable(self) -> _Connection | None:
        """The connection used last, so that the others grow old and are closed; None where there is none."""
        oldest = time.monotonic() - _KEEPALIVE_SECONDS
        while self._idle:
            connection, since = self._idle.pop()
            if since < oldest:  # those below it are older still
                connection.abort()
                self.close()
            elif not connection.closed:
                return connection
        return None

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, connection = await asyncio.get_running_loop().create_connection(_Connection, self._host, self._port, ssl=self._ssl)
        except OSError as error:  # a TimeoutError is one
            raise ConnectError(f"cannot connect to {self._authority}: {str(error) or 'no answer'}") from error
        return connection
