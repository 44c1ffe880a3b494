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
        found = await parts.followed_retriever.retrieve(body.query, body.k)
        hits = [asdict(one.hit) | {"lexical": one.lexical, "late": one.late} for one in found.candidates[: body.k]]
        return Response(
            orjson.dumps({"index_version": found.index_version, "as_of": found.as_of, "hits": hits}), media_type="application/json"
        )

    return router
