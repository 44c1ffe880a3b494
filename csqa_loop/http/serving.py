"""How an app is served until TERM or INT, and how it ends in order."""

import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI

_COULD_NOT_START = 3
"""uvicorn's own exit status."""


class _Server(uvicorn.Server):
    """Tells the app of the signal at once: its lifespan hears of it only when every request has ended."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """TERM or INT came, perhaps not for the first time."""
        super().handle_exit(sig, frame)
        self._stopping()


def serve(app: FastAPI, host: str, port: int, *, finish_seconds: float = 5, stopping: Callable[[], None] = lambda: None) -> None:
    """Block until TERM or INT; requests in flight have `finish_seconds`, then the app's lifespan stops what runs behind it.

    `stopping` is called in the signal's handler, so it only leaves word for the event loop.
    """
    server = _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            loop="uvloop",
            http="httptools",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(finish_seconds),
        ),
        stopping,
    )
    with suppress(KeyboardInterrupt):  # INT is raised once more when all has ended
        server.run()
    if not server.started:
        sys.exit(_COULD_NOT_START)
