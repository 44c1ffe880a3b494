"""How a process is, in one shape for all of them: `ok`, `phase`, `dependencies` and `losses`, over `/health`, `/ready` and `/metrics`.

`/health` asks whether the process itself works: what a restart may mend. `/ready` asks whether it can do its work now, for which others must work
too, and whether something is lost for good.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

import orjson
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from starlette.responses import Response

from csqa_loop.events import now
from csqa_loop.http.problems import RETRY_AFTER_SECONDS

Health = Callable[[], dict[str, object]]
"""`ok` (bool): the process works; `phase`, `trouble`; `dependencies` and `losses` where it has any; everything else is for people."""


class Dependencies:
    """How each dependency is, and since when."""

    def __init__(self, clock: Callable[[], datetime] = now) -> None:
        self._clock = clock
        self._since: dict[str, tuple[bool, datetime]] = {}

    def seen(self, troubles: Mapping[str, str | None], *, useful: Collection[str] = ()) -> dict[str, dict[str, object]]:
        """Name -> {ok, since, trouble, needed}.

        Args:
            troubles: what is wrong with each one now, None where nothing is.
            useful: those without which the process can still do its work.
        """
        told: dict[str, dict[str, object]] = {}
        for name, trouble in troubles.items():
            ok = not trouble
            known = self._since.get(name)
            if known is None or known[0] is not ok:
                self._since[name] = known = (ok, self._clock())
            told[name] = {"ok": ok, "since": known[1].isoformat(), "trouble": trouble or None, "needed": name not in useful}
        return told


def ready(state: Mapping[str, object]) -> bool:
    """Whether it works, everything that it needs works, and nothing is lost."""
    dependencies = state.get("dependencies", {})
    assert isinstance(dependencies, dict)
    return bool(state["ok"]) and all(one["ok"] or not one["needed"] for one in dependencies.values()) and not state.get("losses")


def add_health(app: FastAPI, name: str, health: Health, *, metrics: bool = True) -> None:
    """`GET /health`, `GET /ready`, and `GET /metrics` unless the app has its own: 200 or 503, with the same body."""

    def answer(state: dict[str, object], *, well: bool) -> Response:
        headers = {} if well else {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return Response(orjson.dumps({"name": name, **state, "ready": ready(state)}), 200 if well else 503, headers, "application/json")

    @app.get("/health")
    async def show_health() -> Response:
        state = health()
        return answer(state, well=bool(state["ok"]))

    @app.get("/ready")
    async def show_ready() -> Response:
        state = health()
        return answer(state, well=ready(state))

    if metrics:

        @app.get("/metrics")
        async def show_metrics() -> Response:
            return Response(figures(health()), media_type=CONTENT_TYPE_LATEST)


def figures(state: Mapping[str, object]) -> bytes:
    """The same for Prometheus."""
    registry = CollectorRegistry()
    Gauge("csqa_ready", "1 while the process can do its work.", registry=registry).set(ready(state))
    dependencies, losses = state.get("dependencies", {}), state.get("losses", ())
    assert isinstance(dependencies, dict)
    assert isinstance(losses, Sequence)
    up = Gauge("csqa_dependency_up", "1 while the dependency works.", ("dependency",), registry=registry)
    for name, dependency in dependencies.items():
        up.labels(name).set(dependency["ok"])
    lost = Gauge("csqa_lost_records", "Records deleted before they were read, not acknowledged.", ("topic", "partition"), registry=registry)
    for loss in losses:
        lost.labels(loss["topic"], loss["partition"]).inc(loss["count"])
    return generate_latest(registry)
