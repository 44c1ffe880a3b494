"""`var/up.json`, the processes that run here, and `var/up.lock`, held by their supervisor. Only the lock is authoritative; the file is for readers."""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from csqa_loop.errors import ConfigurationError
from csqa_loop.files.durable import write_atomically


@dataclass(frozen=True)
class ProcessRow:
    """One process as its supervisor last saw it. Times are Unix seconds."""

    name: str
    pid: int | None
    url: str
    health: str
    started_at: float | None
    restarts: int


@contextmanager
def hold(var: Path) -> Iterator[bool]:
    """Be the one supervisor of `var`; True where the last one ended without cleaning up. The kernel frees the lock however we end.

    Raises:
        ConfigurationError: another one holds it; names its pid.
    """
    var.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(var / "up.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"{var} is already run by `csqa up` (pid {_pid_in(var) or 'unknown'}); stop it with `csqa down`, or set CSQA_VAR to another folder"
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        took_over = (var / "up.json").exists()
        try:
            yield took_over
        finally:
            (var / "up.json").unlink(missing_ok=True)
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(var: Path) -> int | None:
    """Pid of the supervisor that holds `var`, or None."""
    try:
        descriptor = os.open(var / "up.lock", os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(var)
    else:
        return None
    finally:
        os.close(descriptor)


def _pid_in(var: Path) -> int | None:
    try:
        return int((var / "up.lock").read_text())
    except (OSError, ValueError):
        return None


def write(var: Path, rows: Sequence[ProcessRow]) -> None:
    """Replace the file whole: readers see the old or the new one."""
    content = {"supervisor": os.getpid(), "written_at": time.time(), "processes": [asdict(row) for row in rows]}
    write_atomically(var / "up.json", (json.dumps(content, indent=1) + "\n").encode())


def read(var: Path) -> dict[str, ProcessRow]:
    """What a live supervisor wrote, by name; empty where none runs."""
    if holder(var) is None:
        return {}
    try:
        return {row["name"]: ProcessRow(**row) for row in json.loads((var / "up.json").read_text())["processes"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # between lock and first write
