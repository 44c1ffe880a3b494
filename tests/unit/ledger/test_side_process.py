"""Work in a process beside this one, and what happens when that process is not there."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from functools import partial

import psutil
import pytest

from csqa_loop.ledger.side_process import SideProcess

LONG = 3
pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: all work is done on a thread")


def where(secret: str, items: Sequence[int]) -> tuple[int, str, int]:
    if not all(items):
        raise ValueError("a zero")
    return os.getpid(), secret, sum(items)


@pytest.fixture
async def side() -> AsyncIterator[SideProcess[int, tuple[int, str, int]]]:
    made = SideProcess(partial(where, "s"), long=LONG)
    yield made
    await made.close()


async def elsewhere(side: SideProcess[int, tuple[int, str, int]]) -> int:
    """The process, once it is at work."""
    await side([1, 2, 3])  # starts it
    assert side._ready is not None
    await asyncio.wait_for(asyncio.wrap_future(side._ready), timeout=60)
    pid, *told = await side([1, 2, 3])
    assert told == ["s", 6]
    assert pid != os.getpid()
    return pid


async def test_short_ones_stay_here(side: SideProcess[int, tuple[int, str, int]]) -> None:
    assert await side([1, 2]) == (os.getpid(), "s", 3)


async def test_long_ones_go_elsewhere_and_errors_come_back(side: SideProcess[int, tuple[int, str, int]]) -> None:
    await elsewhere(side)
    with pytest.raises(ValueError, match="a zero"):
        await side([1, 2, 0])


async def test_a_process_that_dies_loses_no_work(side: SideProcess[int, tuple[int, str, int]]) -> None:
    first = await elsewhere(side)
    os.kill(first, signal.SIGKILL)
    assert (await side([1, 2, 3]))[1:] == ("s", 6)
    assert await elsewhere(side) != first


async def test_it_ends_with_its_owner() -> None:
    side = SideProcess(partial(where, "s"), long=LONG)
    pid = await elsewhere(side)
    await side.close()
    assert not psutil.pid_exists(pid)
