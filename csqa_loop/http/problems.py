"""Errors over HTTP: RFC 9457 problem details, with the `error` object of OpenAI's API inside so that its clients show the message."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from csqa_loop.errors import PermanentError, TransientError

_log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
_TITLES = {
    400: "Bad request",
    401: "Key missing or wrong",
    403: "Refused",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Body too large",
    415: "Unsupported media type",
    422: "Invalid field",
    500: "Internal error",
    503: "Temporarily unavailable",
}
_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    500: "server_error",
    503: "service_unavailable",
}


class Problem(Exception):  # noqa: N818  # RFC 9457's word
    """An error response. `detail` names the thing, what is wrong with it and what would be right."""

    def __init__(
        self,
        status: int,
        title: str = "",
        detail: str = "",
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.title = title or _TITLES.get(status, "Error")
        self.detail = detail
        self.code = code
        self.param = param
        self.headers = dict(headers or {})
        if status == 503:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
        if status == 401:
            self.headers.setdefault("WWW-Authenticate", "Bearer")

    def body(self) -> dict[str, Any]:
        """The problem as a JSON object."""
        error = {
            "message": self.detail or self.title,
            "type": _OPENAI_TYPES.get(self.status, "invalid_request_error"),
            "param": self.param,
            "code": self.code,
        }
        return {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail, "error": error}

    def response(self) -> Response:
        """The problem as an HTTP response."""
        return Response(orjson.dumps(self.body()), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """How an error looks from outside. The text of an unforeseen error is never shown."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, TransientError):
        return Problem(503, detail=str(error))
    if isinstance(error, PermanentError):
        return Problem(400, detail=str(error))
    if isinstance(error, (RequestValidationError, ValidationError)):
        first = error.errors()[0]
        # FastAPI puts body, query or path before the field's own path.
        where = ".".join(str(part) for part in first["loc"] if part not in {"body", "query", "path", "header"})
        return Problem(422, detail=f"{where or 'the body'}: {first['msg']}", param=where or None)
    if isinstance(error, HTTPException):
        return Problem(error.status_code, detail=str(error.detail), headers=error.headers)
    return Problem(500, detail="the server failed; the reason is in its log")


def install(app: FastAPI) -> None:
    """Every error of `app` as a problem."""

    async def foreseen(request: Request, error: Exception) -> Response:
        del request
        return problem_of(error).response()

    async def unforeseen(request: Request, error: Exception) -> Response:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem_of(error).response()

    for kind in (Problem, TransientError, PermanentError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, foreseen)
    app.add_exception_handler(Exception, unforeseen)
