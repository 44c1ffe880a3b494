"""Whether the process lives, whether it can answer, and its figures."""

from dataclasses import asdict

import orjson
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from csqa_loop.gateway.parts import Parts
from csqa_loop.http.problems import RETRY_AFTER_SECONDS


def health_router(parts: Parts) -> APIRouter:
    """`GET /health`, `GET /ready` and `GET /metrics`."""
    router = APIRouter()

    @router.get("/health")
    async def health() -> dict[str, object]:
        return {"name": "gateway", "status": "alive", **parts.health()}

    @router.get("/ready")
    async def ready() -> Response:
        missing = parts.missing()
        state = {
            **parts.health(),
            "name": "gateway",
            "ok": not missing,
            "ready": not missing,
            "missing": missing,
            "index_version": parts.index.version if parts.index else None,
            "deployment": parts.deployment.current.revision if parts.deployment.current else None,
            "spool": asdict(parts.waiting()) if parts.waiting else None,
        }
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if missing else {}
        return Response(orjson.dumps(state), 503 if missing else 200, headers, "application/json")

    @router.get("/metrics")
    async def metrics() -> Response:
        if parts.index:
            parts.metrics.show_index(parts.index.version)
        return Response(generate_latest(parts.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
