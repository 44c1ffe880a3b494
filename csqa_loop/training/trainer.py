"""The trainer's use case: a request becomes child processes, their results become events. Nothing long runs where requests are read.

A result carries the attempt of its request; the loop takes only the current one. A newer request kills what runs for an older one.
Results are written to the run directory before they are published, so that publishing twice sends the same bytes.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from pathlib import Path
from typing import Literal, Protocol

from csqa_loop.errors import CsqaError, PermanentError
from csqa_loop.events import AdapterEvaluated, AdapterTrained, Event, TrainingFailed, TrainingProgress, TrainingRequested
from csqa_loop.log.bus import Bus
from csqa_loop.retry import FailedTry, retried
from csqa_loop.training.rules.shortage import shortage
from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.results import Stage, evaluated, failed, keep, kept_result, trained

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 2.0
Job = Literal["train_adapter", "evaluate_adapter"]


class Child(Protocol):
    """A job's process and all that it started."""

    @property
    def last_words(self) -> str:
        """The last line it wrote to stderr; empty where it wrote none."""
        ...

    async def wait(self) -> int:
        """The exit code; negative: the signal that ended it."""
        ...

    async def kill(self) -> None:
        """End its whole process group and return when it is gone. Idempotent."""
        ...


class Launcher(Protocol):
    """Starts jobs."""

    async def launch(self, job: Job, run_dir: Path) -> Child:
        """`python -m jobs.<job> RUN_DIR`, in a process group of its own that dies with this process.

        Raises:
            TransientError: the process cannot be started now.
        """
        ...


@dataclass(frozen=True)
class CurrentRun:
    """The run that the trainer works on, for people."""

    run_id: str
    attempt: int
    stage: Stage
    step: int = 0
    steps: int = 0
    loss: float | None = None


class _JobFailedError(PermanentError):
    """A child ended without its result."""


class Trainer:
    """One run at a time. `take` every event of csqa.training in order; `close` at the end."""

    def __init__(
        self, bus: Bus, launcher: Launcher, runs: Path, *, progress_seconds: float, stall_seconds: float, clock: Callable[[], datetime]
    ) -> None:
        self._bus = bus
        self._launcher = launcher
        self._runs = runs
        self._progress_seconds = progress_seconds
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._request: TrainingRequested | None = None
        self._stage: Stage = "starting"
        self._work: asyncio.Task[None] | None = None

    @property
    def current(self) -> CurrentRun | None:
        """The run under way; None while there is none."""
        if self._request is None or self._work is None or self._work.done():
            return None
        step = RunDirectory.of(self._runs, self._request.run_id).last_step()
        return CurrentRun(self._request.run_id, self._request.attempt, self._stage, step.step, step.steps, step.loss)

    async def take(self, event: Event) -> None:
        """Act on a request; ignore every other event. Returns once the child runs, so that the request may be acknowledged."""
        if not isinstance(event, TrainingRequested):
            return
        if self._request is not None and event.run_id == self._request.run_id and event.attempt <= self._request.attempt:
            _log.info("run %s attempt %d is in hand or done; the request is a repetition", event.run_id, event.attempt)
            return
        await self.close()  # the loop runs one run at a time: a newer request means that it gave up on the older one
        try:
            run = RunDirectory.of(self._runs, event.run_id)
        except PermanentError as error:
            # Nowhere to keep results for such a run, and no job can work on it.
            _log.error("request refused: %s", error)
            await self._publish_or_log(failed(event, "starting", str(error), self._clock()))
            return
        self._request, self._stage = event, "starting"
        started = asyncio.Event()
        self._work = asyncio.create_task(self._run(event, run, started), name=f"run {event.run_id} attempt {event.attempt}")
        self._work.add_done_callback(lambda _: started.set())
        await started.wait()

    async def close(self) -> None:
        """Kill the child, if any, and stop reporting."""
        if self._work is not None and not self._work.done():
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        self._work = None

    async def _run(self, request: TrainingRequested, run: RunDirectory, started: asyncio.Event) -> None:
        try:
            if await self._publish_again(request, run):
                return
            self._stage = "training"
            await self._job("train_adapter", request, run, started)
            await self._until_published(keep(run, trained(request, run, self._clock())))
            self._stage = "evaluating"
            await self._job("evaluate_adapter", request, run, started)
            await self._until_published(keep(run, evaluated(request, run, self._clock())))
        except CsqaError as error:
            _log.error("run %s attempt %d failed while %s: %s", request.run_id, request.attempt, self._stage, error)
            await self._until_published(keep(run, failed(request, self._stage, str(error), self._clock(), unfit=run.unfit())))
        except Exception as error:
            _log.exception("run %s attempt %d ended in a way that nobody foresaw", request.run_id, request.attempt)
            await self._until_published(keep(run, failed(request, self._stage, f"{type(error).__name__}: {error}", self._clock())))

    async def _job(self, job: Job, request: TrainingRequested, run: RunDirectory, started: asyncio.Event) -> None:
        """Run one child to its end, publishing its progress.

        Raises:
            PermanentError: it ended with an error, or made no progress for too long.
            TransientError: it could not be started.
        """
        if not run.path.is_dir():
            msg = f"{run.path} is missing: loop and trainer must share the folder of runs"
            raise PermanentError(msg)
        child = await self._launcher.launch(job, run.path)
        try:
            started.set()
            code = await self._watch(child, request, run)
        finally:
            await asyncio.shield(child.kill())
        if code:
            raise _JobFailedError(_ending(job, code, child.last_words))

    async def _watch(self, child: Child, request: TrainingRequested, run: RunDirectory) -> int:
        loop = asyncio.get_running_loop()
        exit_code = asyncio.ensure_future(child.wait())
        last_step, moved_at = run.last_step(), loop.time()
        try:
            while True:
                await self._publish_or_log(self._progress(request, run))
                done, _ = await asyncio.wait({exit_code}, timeout=self._progress_seconds)
                if done:
                    return exit_code.result()
                step = run.last_step()
                if step != last_step:
                    last_step, moved_at = step, loop.time()
                elif loop.time() - moved_at > self._stall_seconds:
                    msg = f"no step was made for {self._stall_seconds:g} s (at step {step.step} of {step.steps}); the job was killed"
                    raise _JobFailedError(msg)
        finally:
            exit_code.cancel()

    def _progress(self, request: TrainingRequested, run: RunDirectory) -> TrainingProgress:
        step = run.last_step()
        stage: Stage = "starting" if self._stage == "training" and not step.step else self._stage
        return TrainingProgress(
            occurred_at=self._clock(),
            run_id=request.run_id,
            attempt=request.attempt,
            stage=stage,
            step=step.step,
            steps=step.steps,
            loss=step.loss,
        )

    async def _publish_again(self, request: TrainingRequested, run: RunDirectory) -> bool:
        """Send the results of this very attempt once more; whether they end it."""
        ended = False
        for kind in (AdapterTrained, AdapterEvaluated, TrainingFailed):
            event = kept_result(run, kind, request.attempt)
            if event is not None:
                await self._until_published(event)
                ended = ended or kind is not AdapterTrained
        return ended

    async def _until_published(self, event: Event) -> None:
        def report_failure(failed: FailedTry) -> None:
            _log.warning("%s is not published yet: %s", event.type, failed.error)

        await retried(lambda: self._bus.publish(event), repeat(_RETRY_SECONDS), on_failure=report_failure)

    async def _publish_or_log(self, event: Event) -> None:
        try:
            await self._bus.publish(event)
        except CsqaError as error:
            _log.warning("%s was not published: %s", event.type, error)


def _ending(job: Job, code: int, words: str) -> str:
    """Why a child ended. What a job foresaw it says itself; a library that ends the process leaves its own message."""
    if words.startswith(f"{job}: ") and code > 0:
        return words
    lacking = "memory" if code == -signal.SIGKILL else shortage(words)
    hint = {"memory": "; the machine may be out of memory", "disk": "; the disk may be full", None: ""}[lacking]
    if code > 0:
        return f"{words}{hint}" if words else f"{job} ended with exit code {code} without a word"
    # Its last line was written before the signal came: name the signal first.
    killer = ", whose killer uses signal 9" if code == -signal.SIGKILL else ""
    return f"{job} was killed by signal {-code}{hint}{killer}{f'; its last words: {words}' if words else ''}"
