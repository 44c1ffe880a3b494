"""Trying again what may work later: one function for every call to something that may be unreachable at the moment."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from csqa_loop.errors import TransientError

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class FailedTry:
    """A try that another one follows."""

    error: Exception
    number: int
    """1 for the first."""
    pause: float
    """Seconds until the next one."""


def growing(first: float, longest: float) -> Iterator[float]:
    """Endless pauses in seconds: each twice as long as the one before, none above `longest`."""
    pause = first
    while True:
        yield pause
        pause = min(2 * pause, longest)


async def retried(
    action: Callable[[], Awaitable[R]],
    pauses: Iterable[float],
    *,
    on: type[Exception] | tuple[type[Exception], ...] = TransientError,
    within: float = math.inf,
    on_failure: Callable[[FailedTry], None] | None = None,
    sleep: Callable[[float], Awaitable[None]] | None = None,
) -> R:
    """What `action` returns, tried again after each of `pauses` (seconds) while it raises `on`. `on_failure` is called with every failure that another try follows.

    Raises:
        Exception: the last one, where `pauses` ends or another try would begin more than `within` seconds after the first; any other at once.
    """
    deadline = time.monotonic() + within
    for number, pause in enumerate(pauses, start=1):
        try:
            return await action()
        except on as error:
            if time.monotonic() + pause > deadline:
                raise
            if on_failure is not None:
                on_failure(FailedTry(error, number, pause))
        await (sleep or asyncio.sleep)(pause)
    return await action()
