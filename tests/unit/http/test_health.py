"""One shape of health for every process."""

import itertools
from datetime import UTC, datetime, timedelta

import httpx
from fastapi import FastAPI

from csqa_loop.http.health import Dependencies, add_health, ready

LOSS = {"topic": "csqa.chats", "partition": 3, "from": 10, "to": 19, "count": 10}


def test_since_is_the_moment_of_the_change() -> None:
    seconds = itertools.count()
    dependencies = Dependencies(lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(seconds)))
    first = dependencies.seen({"kafka": None})["kafka"]
    assert dependencies.seen({"kafka": None})["kafka"] == first
    down = dependencies.seen({"kafka": "it is away"})["kafka"]
    assert (down["ok"], down["trouble"]) == (False, "it is away")
    assert dependencies.seen({"kafka": "it is still away"})["kafka"]["since"] == down["since"] != first["since"]


def test_what_is_only_useful_does_not_decide() -> None:
    seen = Dependencies().seen({"ledger": None, "model_server": "away"}, useful={"model_server"})
    assert ready({"ok": True, "dependencies": seen})
    assert not ready({"ok": True, "dependencies": Dependencies().seen({"ledger": "full"})})
    assert not ready({"ok": True, "losses": [LOSS]})


async def test_a_process_that_works_may_not_be_ready_and_says_why_everywhere() -> None:
    state = {"ok": True, "phase": "reading", "dependencies": Dependencies().seen({"kafka": "lost"}), "losses": [LOSS]}
    app = FastAPI()
    add_health(app, "loop", lambda: dict(state))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://loop") as client:
        health, readiness, figures = [await client.get(path) for path in ("/health", "/ready", "/metrics")]
    assert (health.status_code, readiness.status_code) == (200, 503)
    assert health.json() == readiness.json()
    assert readiness.json()["losses"] == [LOSS]
    assert "retry-after" in readiness.headers
    assert "csqa_ready 0.0" in figures.text
    assert 'csqa_dependency_up{dependency="kafka"} 0.0' in figures.text
    assert 'csqa_lost_records{partition="3",topic="csqa.chats"} 10.0' in figures.text
