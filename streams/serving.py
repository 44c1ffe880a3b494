"""Runs a stream process: its work as a lifespan, its health over HTTP, until TERM or INT."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

Health = Callable[[], dict[str, object]]
"""Must hold `ok` (bool); everything else is for people."""


def health_app(name: str, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]], health: Health) -> FastAPI:
    """An app with `GET /health`: 200 where `health()["ok"]`, else 503."""
    app = FastAPI(title=f"csqa {name}", lifespan=lifespan, openapi_url=None)

    @app.get("/health")
    def show_health() -> JSONResponse:
        state = health()
        return JSONResponse({"name": name, **state}, status_code=200 if state["ok"] else 503)

    return app


def serve(app: FastAPI, host: str, port: int) -> None:
    """Block until TERM or INT, then stop in order."""
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=5)
