"""How commands ask the loop's operator API."""

from typing import Any

import httpx

from csqa_loop.bootstrap import build_secrets
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.http.bearer import bearer
from csqa_loop.settings import Settings


def ask_console(settings: Settings, method: str, path: str, *, body: object = None, timeout: float = 60.0) -> dict[str, Any]:
    """The console's JSON answer.

    Raises:
        TransientError: no loop answers at `settings.console_url`.
        PermanentError: it refused, with its reason.
    """
    headers = bearer(build_secrets(settings).operator_key)
    try:
        answer = httpx.request(method, f"{settings.console_url}{path}", headers=headers, json=body, timeout=timeout)
    except httpx.HTTPError as error:
        msg = f"no loop answers at {settings.console_url} ({error}); start it with `csqa up`, or name it with CSQA_CONSOLE__URL"
        raise TransientError(msg) from error
    if answer.status_code != httpx.codes.OK:
        try:
            detail = answer.json().get("detail", answer.text)
        except ValueError:
            detail = answer.text
        msg = f"the loop at {settings.console_url} refused {method} {path} ({answer.status_code}): {detail}"
        raise PermanentError(msg)
    told: dict[str, Any] = answer.json()
    return told
