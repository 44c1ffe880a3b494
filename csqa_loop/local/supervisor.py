"""Runs the processes of one machine: starts them in order, restarts what dies, stops all of them, and leaves nothing behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from csqa_loop.local import up_file
from csqa_loop.local.ports import require_free
from csqa_loop.local.services import Service, own_environment
from csqa_loop.retry import growing

ProcessHealth = Literal["starting", "healthy", "unhealthy", "stopped"]

_LEASH = str(Path(__file__).with_name("leash.py"))
_MARK = "LEASHED_FOR_CSQA"
"""Environment variable by which everything a service started can be found again."""
_PROBE_SECONDS = 1.0
_LEFTOVER_SECONDS = 4.0
"""More than the service that has longest to stop by itself."""
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 30.0
_STEADY_SECONDS = 60.0
"""A process that ran this long before it died is restarted at once: its failure is a new one."""
_KEPT_LOG_BYTES = 16 * 1024 * 1024


@dataclass
class Supervised:
    """One service and how it is doing."""

    service: Service
    health: ProcessHealth = "stopped"
    pid: int | None = None
    """The pid of the service itself, not of its leash."""
    started_at: float | None = None
    restarts: int = 0
    leash: asyncio.subprocess.Process | None = None

    def row(self) -> up_file.ProcessRow:
        """The row for `up.json`."""
        return up_file.ProcessRow(self.service.name, self.pid, self.service.url, self.health, self.started_at, self.restarts)


class Supervisor:
    """Everything between `csqa up` and its end. `say` gets one line for each thing worth knowing, `changed` is called when a state changed."""

    def __init__(
        self, services: Sequence[Service], var: Path, say: Callable[[str], None], changed: Callable[[], None] = lambda: None
    ) -> None:
        self.supervised = {service.name: Supervised(service) for service in services}
        self._var = var
        self._say = say
        self._changed = changed
        self._stopping = asyncio.Event()
        self._healthy = {service.name: asyncio.Event() for service in services}

    def stop(self) -> None:
        """Ask for the end; `run` returns when everything is down. Safe as a signal handler."""
        self._stopping.set()

    @property
    def all_healthy(self) -> bool:
        """Whether everything answers."""
        return all(supervised.health == "healthy" for supervised in self.supervised.values())

    async def run(self) -> None:
        """Hold the machine's processes until `stop` is called.

        Raises:
            ConfigurationError: another one holds `var`, or a port is taken; nothing was started.
        """
        with up_file.hold(self._var) as took_over:
            own = [supervised for supervised in self.supervised.values() if not supervised.service.external]
            if took_over:
                await self._end_leftovers()
            require_free([supervised.service for supervised in own])
            (self._var / "logs").mkdir(parents=True, exist_ok=True)
            keepers = [asyncio.create_task(self._keep(supervised), name=supervised.service.name) for supervised in own]
            watchers = [asyncio.create_task(self._watch(supervised)) for supervised in self.supervised.values()]
            try:
                self._publish()
                await self._until_stopped(keepers + watchers)
            finally:
                for task in watchers:
                    task.cancel()
                await self._stop_all(own)
                for task in keepers:
                    task.cancel()
                await asyncio.gather(*keepers, *watchers, return_exceptions=True)

    async def _end_leftovers(self) -> None:
        """End what a killed supervisor left. We hold the lock, so every process with our mark was started by it."""
        mark = f"{self._var.resolve()}:"
        longest = max((supervised.service.stop_seconds for supervised in self.supervised.values()), default=0.0)
        for seconds in (longest + _LEFTOVER_SECONDS, 2.0):  # to stop by themselves, then killed
            deadline = time.monotonic() + seconds
            while _marked(mark) and time.monotonic() < deadline:  # noqa: ASYNC110 - other processes set no events
                await asyncio.sleep(0.1)
            _kill(_marked(mark))

    async def _until_stopped(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Also end where one of our own tasks fails by a bug: with its error, and with everything stopped."""
        stopped = asyncio.create_task(self._stopping.wait())
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        self._stopping.set()
        for task in done - {stopped}:
            task.result()
        await stopped

    async def _keep(self, supervised: Supervised) -> None:
        """Start it when the services that it needs are healthy, and again whenever it ends."""
        name, backoffs = supervised.service.name, growing(_FIRST_BACKOFF, _LONGEST_BACKOFF)
        for needed in supervised.service.needs:
            if needed in self._healthy:
                await self._healthy[needed].wait()
        while not self._stopping.is_set():
            began = time.monotonic()
            status = await self._run_once(supervised)
            if self._stopping.is_set():
                break
            lasted = time.monotonic() - began
            if lasted >= _STEADY_SECONDS:
                backoffs = growing(_FIRST_BACKOFF, _LONGEST_BACKOFF)
            backoff = next(backoffs)
            supervised.restarts += 1
            self._say(
                f"{name} ended with {_named(status)} after {lasted:.0f} s; restart {supervised.restarts} in {backoff:g} s ({self._log(supervised)}: {self._last_line(supervised)})"
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff)
        await asyncio.Event().wait()  # until cancelled: a keeper that returned would count as a bug

    async def _run_once(self, supervised: Supervised) -> int:
        service = supervised.service
        log = self._log(supervised)
        if log.exists() and log.stat().st_size > _KEPT_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        mark = f"{self._var.resolve()}:{service.name}:{time.monotonic_ns()}"
        reader, writer = os.pipe()
        with log.open("ab") as output:
            try:
                supervised.leash = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", _LEASH, str(os.getpid()), str(writer), str(service.stop_seconds), "--", *service.command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=own_environment(service) | {_MARK: mark},
                    pass_fds=(writer,),
                    process_group=0,
                )
            finally:
                os.close(writer)
        try:
            supervised.pid = await _read_pid(reader)
            supervised.started_at = time.time()
            self._set(supervised, "starting")
            return await supervised.leash.wait()
        finally:
            if supervised.leash.returncode is None:
                await self._kill_leash(supervised)
            if (supervised.leash.returncode or 0) < 0:  # the leash itself was killed: end the processes that it held
                _kill(_marked(mark))
            supervised.pid, supervised.leash = None, None
            self._set(supervised, "stopped")

    async def _watch(self, supervised: Supervised) -> None:
        while True:
            if supervised.service.external or supervised.pid is not None:
                pid = supervised.pid
                well = await supervised.service.probe()
                if supervised.pid == pid:  # else the answer is about one that is gone
                    self._set(
                        supervised, "healthy" if well else "starting" if supervised.health in ("starting", "stopped") else "unhealthy"
                    )
            # More often while it starts, so that dependants start without delay.
            await asyncio.sleep(_PROBE_SECONDS if supervised.health == "healthy" else _PROBE_SECONDS / 4)

    def _set(self, supervised: Supervised, health: ProcessHealth) -> None:
        if supervised.health == health:
            return
        supervised.health = health
        (self._healthy[supervised.service.name].set if health == "healthy" else self._healthy[supervised.service.name].clear)()
        self._publish()

    def _publish(self) -> None:
        up_file.write(self._var, [supervised.row() for supervised in self.supervised.values()])
        self._changed()

    async def _stop_all(self, own: Sequence[Supervised]) -> None:
        """Stop services before those that they need. Each wave is bounded, so all are gone within the sum of their longest."""
        self._stopping.set()
        for wave in sorted({supervised.service.stop_last for supervised in own}):
            await asyncio.gather(*(self._stop(supervised) for supervised in own if supervised.service.stop_last == wave))

    async def _stop(self, supervised: Supervised) -> None:
        leash = supervised.leash
        if leash is None or leash.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            leash.terminate()
        try:
            # The leash kills the rest after `stop_seconds`; it has half a second more to end.
            await asyncio.wait_for(leash.wait(), supervised.service.stop_seconds + 0.5)
        except TimeoutError:
            self._say(f"{supervised.service.name} did not stop within {supervised.service.stop_seconds:g} s and was killed")
            await self._kill_leash(supervised)

    async def _kill_leash(self, supervised: Supervised) -> None:
        if supervised.leash is not None:
            with contextlib.suppress(ProcessLookupError):
                supervised.leash.kill()
            await supervised.leash.wait()

    def _log(self, supervised: Supervised) -> Path:
        return self._var / "logs" / f"{supervised.service.name}.log"

    def _last_line(self, supervised: Supervised) -> str:
        try:
            with self._log(supervised).open("rb") as handle:
                handle.seek(max(0, handle.seek(0, os.SEEK_END) - 4096))
                lines = handle.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1][:300] if lines else "empty"


async def _read_pid(descriptor: int) -> int | None:
    """The pid that the leash writes; None where it ended first."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0))
    try:
        line = await reader.readline()
        return int(line) if line.strip() else None
    finally:
        transport.close()


def _marked(mark: str) -> list[int]:
    """Every process that inherited a mark that starts so in its environment, whatever session or parent it has by now."""
    marked = f"{_MARK}={mark}".encode()
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            if any(variable.startswith(marked) for variable in (entry / "environ").read_bytes().split(b"\0")):
                pids.append(int(entry.name))
    return pids


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _named(status: int) -> str:
    number = -status if status < 0 else status - 128
    if 0 < number < signal.NSIG and (status < 0 or status > 128):
        return signal.Signals(number).name
    return f"status {status}"
