"""HEAD and OPTIONS on every route: as GET without a body, and what a route takes."""

from fastapi import FastAPI
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class EveryMethod:
    """Plain ASGI. HEAD is answered by the route of GET, OPTIONS with 204 and `Allow` (nothing about other origins)."""

    def __init__(self, app: ASGIApp, *, owner: FastAPI) -> None:
        self._app = app
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer (ASGI)."""
        method = scope.get("method")
        if scope["type"] == "http" and method == "HEAD":
            # A copy: the server looks into its own to know that no body may follow.
            await self._app({**scope, "method": "GET"}, receive, _without_body(send))
        elif scope["type"] == "http" and method == "OPTIONS" and (allowed := self._allowed(scope)):
            await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", ", ".join(allowed).encode())]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, send)

    def _allowed(self, scope: Scope) -> list[str]:
        """What the path takes; nothing where there is no such path."""
        routes = self._owner.router.routes
        taken = [name for name in _METHODS if any(route.matches({**scope, "method": name})[0] is Match.FULL for route in routes)]
        return [*taken[:1], *(["HEAD"] if "GET" in taken else []), *taken[1:], "OPTIONS"] if taken else []


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
        elif not message.get("more_body"):
            await send({"type": "http.response.body", "body": b""})

    return send_head


def install(app: FastAPI) -> None:
    """On every route of `app`."""
    app.add_middleware(EveryMethod, owner=app)
