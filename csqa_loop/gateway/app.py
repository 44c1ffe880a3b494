"""The gateway as an ASGI app, and as a process."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from csqa_loop.gateway.admission import Admitted
from csqa_loop.gateway.chat import chat_router
from csqa_loop.gateway.feedback import feedback_router
from csqa_loop.gateway.health import health_router
from csqa_loop.gateway.knowledge import knowledge_router
from csqa_loop.gateway.metrics import Metrics
from csqa_loop.gateway.parts import Parts
from csqa_loop.http import methods, problems
from csqa_loop.http.serving import serve as serve_http

_KINDS = {
    400: "refused",
    401: "key",
    403: "token",
    404: "not found",
    413: "too large",
    422: "invalid",
    499: "left",
    500: "internal",
    503: "unavailable",
}


def create_app(parts: Parts) -> FastAPI:
    """The app; its parts start with it, in the background."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        await parts.start()
        yield
        await parts.stop()

    # No schema and no docs pages: the endpoints are OpenAI's and those in the README.
    app = FastAPI(title="csqa gateway", lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(app)
    for router in (chat_router(parts), feedback_router(parts), knowledge_router(parts), health_router(parts)):
        app.include_router(router)
    app.add_middleware(Admitted, admission=parts.admission)
    app.add_middleware(_Counted, metrics=parts.metrics)
    methods.install(app)
    return app


class _Counted:
    """Counts and times requests. Plain ASGI: Starlette's own middleware base adds a task and two streams to each request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def counting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counting_send)
        finally:
            # The route's template, never the path: clients choose paths, and each would become a series.
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.latency.labels(route).observe(time.perf_counter() - began)
            if status >= 400:
                self._metrics.errors.labels(_KINDS.get(status, str(status))).inc()


def serve(parts: Parts) -> None:
    """Block until TERM or INT; answers in flight are finished, or end with an error that says so."""
    settings = parts.settings.gateway
    # A second more than the admission takes to end what is open.
    finish_seconds = parts.finish_seconds + 1
    serve_http(create_app(parts), settings.host, settings.port, finish_seconds=finish_seconds, stopping=parts.admission.stop)
