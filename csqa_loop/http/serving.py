"""A process over HTTP: how it reports its health, and how its app is served until TERM or INT."""

from collections.abc import Callable

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

Health = Callable[[], dict[str, object]]
"""Must hold `ok` (bool); everything else is for people."""


def add_health(app: FastAPI, name: str, health: Health) -> None:
    """`GET /health`: 200 where `health()["ok"]`, else 503."""

    @app.get("/health")
    async def show_health() -> JSONResponse:
        state = health()
        return JSONResponse({"name": name, **state}, status_code=200 if state["ok"] else 503)


def serve(app: FastAPI, host: str, port: int, *, finish_seconds: int = 5) -> None:
    """Block until TERM or INT; requests in flight have `finish_seconds`, then the app's lifespan stops what runs behind it."""
    uvicorn.run(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=finish_seconds,
    )
