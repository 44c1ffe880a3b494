"""Holds one process of `csqa up`, so that nothing it started outlives it, or outlives the supervisor, however either ends.

Run as a script, with nothing imported that is not needed: `leash.py PARENT_PID PID_FD GRACE_SECONDS -- COMMAND...`. Linux gives the
three kernel features it rests on: a signal when the parent dies (PR_SET_PDEATHSIG), orphans handed to us (PR_SET_CHILD_SUBREAPER), and so a full
list of what the command started, also of what went into a session of its own.

TERM or INT: passed on to the command; what is left after GRACE_SECONDS is killed. Exit status: the command's.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main(arguments: list[str]) -> int:
    """Run the command; return its exit status (128 + signal where one ended it)."""
    parent, pid_fd, grace = int(arguments[0]), int(arguments[1]), float(arguments[2])
    command = arguments[arguments.index("--") + 1 :]
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    stop_times: list[float] = []  # one entry: when the first signal to stop came
    child = 0

    def stop(_number: int, _frame: object) -> None:
        if not stop_times:
            stop_times.append(time.monotonic())
            signal.setitimer(signal.ITIMER_REAL, grace)
            if child:
                _send(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGALRM, lambda *_: _kill_descendants())
    prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before the signal was asked for
        return 1
    me = os.getpid()
    child = os.fork()
    if child == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != me:
            os._exit(1)
        os.close(pid_fd)
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(f"cannot run {command[0]}: {error}", file=sys.stderr, flush=True)
        os._exit(127)
    os.write(pid_fd, f"{child}\n".encode())
    os.close(pid_fd)
    if stop_times:
        _send(child, signal.SIGTERM)
    status = _wait_for(child)
    signal.setitimer(signal.ITIMER_REAL, 0)
    _end_descendants(0.0 if not stop_times else min(2.0, grace))
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _wait_for(child: int) -> int:
    """Reap whatever ends, adopted orphans included, until `child` does."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return status


def _end_descendants(patience: float) -> None:
    """TERM, wait, KILL; again until none is left, since a dying process may leave children to us."""
    for pid in _descendants():
        _send(pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while _descendants():
        _reap()
        if time.monotonic() >= deadline:
            _kill_descendants()
        time.sleep(0.02)


def _kill_descendants() -> None:
    for pid in _descendants():
        _send(pid, signal.SIGKILL)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _descendants() -> list[int]:
    """All processes below this one, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - pathlib costs this script half its start
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as handle:  # noqa: PTH123
                    parent = int(handle.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            children.setdefault(parent, []).append(int(entry))
    pids, todo = [], [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        pids += below
        todo += below
    return pids


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
