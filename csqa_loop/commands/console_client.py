"""How commands ask the loop's operator API."""

import json
from typing import TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from csqa_loop.bootstrap import build_secrets
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.http.bearer import bearer
from csqa_loop.settings import Settings

_Answer = TypeVar("_Answer")


def ask_console(settings: Settings, path: str, answer: type[_Answer], *, body: object = None, timeout: float = 60.0) -> _Answer:
    """What the console answers: GET, or POST with a body.

    Raises:
        TransientError: no loop answers at `settings.console_url`.
        PermanentError: it refused, with its reason; or it answered what this version does not know.
    """
    method = "GET" if body is None else "POST"
    headers = bearer(build_secrets(settings).operator_key)
    try:
        response = httpx.request(method, f"{settings.console_url}{path}", headers=headers, json=body, timeout=timeout)
    except httpx.HTTPError as error:
        msg = f"no loop answers at {settings.console_url} ({error}); start it with `csqa up`, or name it with CSQA_CONSOLE__URL"
        raise TransientError(msg) from error
    if response.status_code != httpx.codes.OK:
        try:
            detail = response.json().get("detail", response.text)
        except ValueError:
            detail = response.text
        msg = f"the loop at {settings.console_url} refused {method} {path} ({response.status_code}): {detail}"
        raise PermanentError(msg)
    try:
        return TypeAdapter(answer).validate_json(response.content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        msg = f"the loop at {settings.console_url} answers {path} in another form ({where}: {first['msg']}); is it of another version than `csqa`?"
        raise PermanentError(msg) from error


def json_of(answer: object, *, indent: int | None = None) -> str:
    """An answer, or a list of them, as JSON for scripts: with the console's own names and values."""
    return json.dumps(to_jsonable_python(answer), ensure_ascii=False, indent=indent)
