"""A bound on open chat requests, and a stop that ends all of them in order: on a real socket, on fakes."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from csqa_loop.events import AnswerGiven, ArmExposed
from csqa_loop.settings import GatewaySettings
from tests.fakes.gateway import World
from tests.gateway_client import QUESTION, refused
from tests.unit.gateway.live import Live, serving


@pytest.fixture
def world(tmp_path: Path) -> World:
    # The admission ends open requests three seconds after the stop.
    made = World(tmp_path, stop_seconds=8.0, gateway=GatewaySettings(most_open=2)).with_shop()
    made.parts.admission._finish_seconds = 0.3
    made.model.gate = asyncio.Event()
    return made


@pytest.fixture
def live(world: World) -> Iterator[Live]:
    with serving(world) as live:
        yield live


def asks(live: Live, *, stream: bool) -> tuple[threading.Thread, list[httpx.Response]]:
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(httpx.post(f"{live.url}/v1/chat/completions", json=QUESTION | {"stream": stream}, timeout=20))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, answers


def until_open(world: World, number: int) -> None:
    reached = threading.Event()
    for _ in range(1000):
        if world.parts.admission.open == number and len(world.bus.of_type(ArmExposed)) == number:
            return
        reached.wait(0.01)
    pytest.fail(f"{world.parts.admission.open} requests are open, not {number}")


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: {")]


def test_more_than_may_be_open_are_refused_at_once_and_the_others_answered(live: Live, world: World) -> None:
    open_ones = [asks(live, stream=stream) for stream in (True, False)]
    until_open(world, 2)
    body = refused(httpx.post(f"{live.url}/v1/chat/completions", json=QUESTION, timeout=1), 503)
    assert "2 chat requests are open" in body["detail"]
    assert httpx.get(f"{live.url}/ready").json()["open_chats"] == 2
    assert world.model.gate is not None
    live.loop.call_soon_threadsafe(world.model.gate.set)
    for thread, answers in open_ones:
        thread.join(10)
        assert answers[0].status_code == 200
    assert world.parts.admission.open == 0


def test_a_stop_ends_what_cannot_finish_with_an_error_and_records_no_half_answer(live: Live, world: World) -> None:
    streamed, asked = asks(live, stream=True), asks(live, stream=False)
    until_open(world, 2)
    world.parts.admission.stop()
    readiness = httpx.get(f"{live.url}/ready")
    assert (readiness.status_code, readiness.json()["phase"]) == (503, "stopping")
    assert "stopping" in readiness.json()["missing"][0]
    refused(httpx.post(f"{live.url}/v1/chat/completions", json=QUESTION), 503)
    for thread, _ in (streamed, asked):
        thread.join(10)
    last = events_of(streamed[1][0])[-1]
    assert streamed[1][0].status_code == 200
    assert (last["status"], last["error"]["type"]) == (503, "service_unavailable")
    refused(asked[1][0], 503)
    assert world.bus.of_type(AnswerGiven) == []
    assert len(world.bus.of_type(ArmExposed)) == 2


def test_a_stop_lets_answers_finish_that_can(live: Live, world: World) -> None:
    world.parts.admission._finish_seconds = 10
    thread, answers = asks(live, stream=True)
    until_open(world, 1)
    world.parts.admission.stop()
    assert world.model.gate is not None
    live.loop.call_soon_threadsafe(world.model.gate.set)
    thread.join(10)
    assert answers[0].text.endswith("data: [DONE]\n\n")
    assert len(world.bus.of_type(AnswerGiven)) == 1
