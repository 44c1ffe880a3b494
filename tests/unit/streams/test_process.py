"""How a process starts, tells how it is, ends itself and stops."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from csqa_loop.errors import TransientError
from streams.process import Process, ended


class Worker(Process):
    """Connects once `reachable`, and then does what `work` says."""

    name = "worker"

    def __init__(self) -> None:
        super().__init__()
        self.reachable = asyncio.Event()
        self.work = asyncio.Event()
        self.broken = False
        self.stopped = False

    async def run(self) -> None:
        await self.until_answered(self.connect, "connecting")
        self.phase = "running"
        await self.work.wait()
        if self.broken:
            raise ValueError("not foreseen")

    async def connect(self) -> None:
        if not self.reachable.is_set():
            raise TransientError("Kafka is down")

    async def stop(self) -> None:
        self.stopped = True

    def health(self) -> dict[str, object]:
        return {"ok": self.phase == "running", "phase": self.phase, "trouble": self.trouble}


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sent: list[int] = []
    monkeypatch.setattr("os.kill", lambda _, number: sent.append(number))
    return sent


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[FastAPI]:
    app = worker.app()
    async with app.router.lifespan_context(app):
        yield app


async def told(app: FastAPI, **wanted: object) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://worker") as client, asyncio.timeout(10):
        while True:
            answer = await client.get("/health")
            if all(answer.json()[name] == value for name, value in wanted.items()):
                return answer
            await asyncio.sleep(0.01)


async def test_health_is_told_while_what_it_needs_is_down_and_says_what_that_is(signals: list[int]) -> None:
    worker = Worker()
    async with running(worker) as app:
        answer = await told(app, trouble="Kafka is down")
        assert (answer.status_code, answer.json()) == (
            503,
            {"name": "worker", "ok": False, "phase": "starting", "trouble": "Kafka is down", "ready": False},
        )
        worker.reachable.set()
        answer = await told(app, phase="running")
        assert (answer.status_code, answer.json()["trouble"]) == (200, None)
        assert not worker.stopped
    assert worker.stopped
    assert signals == []


async def test_an_error_that_nobody_foresaw_ends_the_process_once(signals: list[int], caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker()
    worker.reachable.set()
    worker.broken = True
    async with running(worker) as app:
        await told(app, phase="running")
        worker.work.set()
        async with asyncio.timeout(10):
            while not signals:
                await asyncio.sleep(0.01)
        worker.crash(ValueError("its consequence"))
    assert signals == [signal.SIGTERM]
    (said,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert said.getMessage() == "the worker stops"
    assert "not foreseen" in str(said.exc_info)
    assert worker.stopped


async def test_a_step_of_a_stop_that_hangs_or_fails_holds_up_none_after_it() -> None:
    async def cancelled_by_nobody() -> None:
        raise asyncio.CancelledError

    began = time.monotonic()
    await ended(asyncio.sleep(60), 0.05)
    await ended(cancelled_by_nobody())
    assert time.monotonic() - began < 5
