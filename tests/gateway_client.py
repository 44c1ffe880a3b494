"""What a frontend asks of the gateway, and what it may be told."""

from typing import Any

import httpx

QUESTION = {"model": "csqa", "messages": [{"role": "user", "content": "How many days to return electronics?"}], "user": "jane"}


async def asked(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await client.post("/v1/chat/completions", json=QUESTION | fields)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def refused(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem, in both of its forms."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["title"]
    assert body["error"]["message"] == body["detail"]
    if status == 503:
        assert int(response.headers["retry-after"]) > 0
    return body
