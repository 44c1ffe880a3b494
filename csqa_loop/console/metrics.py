"""The loop's figures for Prometheus: `/metrics`."""

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from starlette.responses import Response

from csqa_loop.console.parts import ConsoleParts
from csqa_loop.http.health import Health, figures
from csqa_loop.ledger.letters import waiting_letters


def metrics_router(parts: ConsoleParts, health: Health) -> APIRouter:
    """GET /metrics. No label holds a user, a conversation or a text."""
    router = APIRouter()
    registry = CollectorRegistry()
    troubled = Gauge(
        "csqa_loop_troubled", "1 while this part of the loop does not succeed; /health says why.", ("part",), registry=registry
    )
    letters = Gauge("csqa_dead_letters_waiting", "Dead letters that nobody has dealt with.", registry=registry)

    @router.get("/metrics")
    async def show_metrics() -> Response:
        troubles = health().get("troubles")
        for part, trouble in troubles.items() if isinstance(troubles, dict) else ():
            troubled.labels(part).set(trouble is not None)
        letters.set(await parts.ledger.ask(waiting_letters))
        return Response(figures(health()) + generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
