"""What this gateway would retrieve: for operators who look for the source of an answer."""

from dataclasses import asdict

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from csqa_loop.gateway.bodies import SearchBody, read_body, validated
from csqa_loop.gateway.parts import Parts
from csqa_loop.http.keys import require_operator


def knowledge_router(parts: Parts) -> APIRouter:
    """`POST /v1/knowledge/search`."""
    router = APIRouter()

    @router.post("/v1/knowledge/search")
    async def search(request: Request) -> Response:
        require_operator(request, parts.secrets.operator_key)
        body = validated(SearchBody, await read_body(request, parts.settings.answer.max_body_bytes))
        index = parts.followed_index
        hits = await parts.answerer.retrieve(body.query, body.k)
        results = {"index_version": index.version, "as_of": index.as_of, "hits": [_hit_body(hit) for hit in hits]}
        return Response(orjson.dumps(results), media_type="application/json")

    def _hit_body(hit: object) -> dict[str, object]:
        return asdict(hit)  # type: ignore[call-overload, no-any-return]  # the index's hits are dataclasses

    return router
