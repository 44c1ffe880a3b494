"""The life of a process, written once: it starts behind its health, ends after an unforeseen error, and stops in order."""

import asyncio
import logging
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ClassVar, TypeVar

from fastapi import FastAPI

from csqa_loop.errors import CsqaError, TransientError
from csqa_loop.http import methods
from csqa_loop.http.health import Dependencies, add_health
from csqa_loop.retry import FailedTry, growing, retried

_log = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_STOP_SECONDS = 10.0
R = TypeVar("R")


class Process(ABC):
    """`run` begins in the background, so health is served while Kafka is still down; an unforeseen error in it ends the process."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self.phase = "starting"
        self.trouble: str | None = None
        """What is being waited for, or went wrong last; None once it went well."""
        self.dependencies = Dependencies()
        self.crashed = False
        """Whether it is ending after an unforeseen error."""

    @abstractmethod
    async def run(self) -> None:
        """Start what this needs and work until cancelled."""

    @abstractmethod
    async def stop(self) -> None:
        """Close everything, in order; `run` has ended, perhaps before it had started everything."""

    @abstractmethod
    def health(self) -> dict[str, object]:
        """`ok`, `phase`, `trouble`, `dependencies`, and what else people want to know (`csqa_loop.http.health`)."""

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Title of the app that serves its health."""
        running = asyncio.create_task(self._run_or_crash(), name=self.name)
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await self.stop()

    def app(self) -> FastAPI:
        """`GET /health` and `GET /ready`, with this running behind it."""
        app = FastAPI(title=f"csqa {self.name}", lifespan=self.lifespan, openapi_url=None)
        methods.install(app)
        add_health(app, self.name, self.health)
        return app

    async def until_answered(self, action: Callable[[], Awaitable[R]], activity: str, *, on: type[CsqaError] = TransientError) -> R:
        """Try until it works; `trouble` says meanwhile why it does not. `on`: the errors that people may mend meanwhile."""

        def report_failure(failed: FailedTry) -> None:
            self.trouble = str(failed.error)
            _log.warning("%s: %s; trying again in %.1f s", activity, failed.error, failed.pause)

        result = await retried(action, growing(_FIRST_PAUSE, _LONGEST_PAUSE), on=on, on_failure=report_failure)
        self.trouble = None
        return result

    def crash(self, error: BaseException) -> None:
        """End the process in order after an unforeseen error: the supervisor starts it again at what is durable."""
        if not self.crashed:
            self.crashed = True
            _log.critical("the %s stops", self.name, exc_info=error)
            os.kill(os.getpid(), signal.SIGTERM)

    async def _run_or_crash(self) -> None:
        try:
            await self.run()
        except Exception as error:  # this task is awaited only at the end: without this, a process would stay up and do nothing
            self.crash(error)


async def ended(stopping: Coroutine[Any, Any, None], seconds: float = _STOP_SECONDS) -> None:
    """Run one step of a stop to its end, within a bound. With its broker gone aiokafka raises a CancelledError without a cancellation."""
    task = asyncio.ensure_future(stopping)
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        task.cancel()
    for error in await asyncio.gather(task, return_exceptions=True):
        if error is not None:
            _log.info("a part did not stop in order: %r", error)
