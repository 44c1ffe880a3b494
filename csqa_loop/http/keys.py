"""The operator key on a request."""

import hmac

from fastapi import Request

from csqa_loop.http.problems import Problem


def require_operator(request: Request, key: str) -> None:
    """Let nobody by without the key.

    Raises:
        Problem: 401.
    """
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), key.encode()):
        raise Problem(401, detail="this needs the operator key: send `Authorization: Bearer OPERATOR_KEY`")
