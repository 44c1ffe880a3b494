"""Whose key a request carries."""

import hmac
from collections.abc import Mapping

from fastapi import Request

from csqa_loop.http.bearer import key_in
from csqa_loop.http.problems import Problem

OPERATOR = "operator"


def holder(authorization: str, keys: Mapping[str, str], refusal: Problem) -> str:
    """The name of the key in the header's value `authorization`. Comparison takes constant time.

    Raises:
        Problem: `refusal`: it carries none of them.
    """
    key_given = key_in(authorization).encode()
    names = [name for name, key in keys.items() if hmac.compare_digest(key_given, key.encode())]
    if not key_given or not names:
        raise refusal
    return names[0]


def require_operator(request: Request, key: str) -> None:
    """Refuse a request without the key.

    Raises:
        Problem: 401.
    """
    refusal = Problem(401, detail="this needs the operator key: send `Authorization: Bearer OPERATOR_KEY`")
    holder(request.headers.get("authorization", ""), {OPERATOR: key}, refusal)
