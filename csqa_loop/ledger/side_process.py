"""A function in a process of its own, for work that would keep Python's lock from everything else."""

import asyncio
import ctypes
import logging
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Generic, TypeVar

from csqa_loop.ledger.garbage import collect_seldom

_log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")
_PR_SET_PDEATHSIG = 1


class SideProcess(Generic[T, R]):
    """Calls `function`, which can be pickled, with sequences: long ones in another process, where there is a core for it, all others on a thread.

    The process starts with the first long sequence, which does not wait for it, and ends with this object or with this process, however
    that ends. Should it die, its work is done on a thread, and the next long sequence starts another one.
    """

    def __init__(self, function: Callable[[Sequence[T]], R], *, long: int) -> None:
        self._function = function
        self._long = long
        self._pool: ProcessPoolExecutor | None = None
        self._ready: Future[None] | None = None

    async def __call__(self, items: Sequence[T]) -> R:
        """What `function` returns, or raises."""
        if len(items) >= self._long and (pool := self._at_work()) is not None:
            try:
                return await asyncio.get_running_loop().run_in_executor(pool, self._function, items)
            except BrokenProcessPool:
                _log.warning("a process beside this one died; its work is done here")
                self._pool = None
        return await asyncio.to_thread(self._function, items)

    async def close(self) -> None:
        """Return when the process has ended."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)

    def _at_work(self) -> ProcessPoolExecutor | None:
        if self._pool is None and len(os.sched_getaffinity(0)) > 1:
            # Spawned: a copy of a process with threads may hold locks that are never released.
            self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin, initargs=(os.getpid(),))
            self._ready = self._pool.submit(_nothing)
        started = self._ready is not None and self._ready.done() and self._ready.exception() is None
        return self._pool if started else None


def _begin(parent: int) -> None:
    """Runs first in the process."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the signal was asked for
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: who started us says when to end
    collect_seldom()


def _nothing() -> None:
    """Done when the process can work."""
