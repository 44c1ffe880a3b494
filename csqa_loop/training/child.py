"""Jobs as child processes: a process group each, killed with its parent, the last line of its stderr kept."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from csqa_loop.errors import TransientError

if TYPE_CHECKING:
    from csqa_loop.training.trainer import Job

_PR_SET_PDEATHSIG = 1
_KEPT_CHARACTERS = 4000
_TERM_SECONDS = 5.0
# Looked up before any fork: between fork and exec only the call itself is safe.
_prctl = getattr(ctypes.CDLL(None), "prctl", None)


class ProcessLauncher:
    """Implements `jobs.Launcher`. `command` is what stands before `jobs.<job>`; `options` are added for one job."""

    def __init__(self, command: Sequence[str] = (sys.executable, "-m"), options: "dict[Job, tuple[str, ...]] | None" = None) -> None:
        self._command = tuple(command)
        self._options = options or {}

    async def launch(self, job: "Job", run_dir: Path) -> "JobProcess":
        """Start `jobs.<job> RUN_DIR`; its output goes to `RUN_DIR/<job>.log` too."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                f"jobs.{job}",
                str(run_dir),
                *self._options.get(job, ()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            msg = f"{job} cannot be started: {error}"
            raise TransientError(msg) from error
        return JobProcess(process, run_dir / f"{job}.log")


class JobProcess:
    """Implements `jobs.Child`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._tail = ""
        self._reader = asyncio.create_task(self._read(), name=f"stderr of {process.pid}")

    @property
    def pid(self) -> int:
        """The pid of the process, and of its group."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """See `jobs.Child.last_words`."""
        lines = [line.strip() for line in self._tail.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    async def wait(self) -> int:
        """See `jobs.Child.wait`."""
        code = await self._process.wait()
        # A grandchild may hold the pipe open; the job's own output is in it by now.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._reader), 1.0)
        return code

    async def kill(self) -> None:
        """See `jobs.Child.kill`."""
        # The group outlives its leader where the job started something: signal it also when the leader is gone.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), _TERM_SECONDS)
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        assert self._process.stderr is not None
        with contextlib.ExitStack() as stack:
            try:
                log = stack.enter_context(self._log.open("ab", buffering=0))
            except OSError:
                log = None  # a full or missing disk: the last line is still kept below
            while block := await self._process.stderr.read(4096):
                self._tail = (self._tail + block.decode(errors="replace"))[-_KEPT_CHARACTERS:]
                if log is not None:
                    with contextlib.suppress(OSError):
                        log.write(block)


def _die_with_parent() -> None:
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
