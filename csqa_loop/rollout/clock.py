"""The loop's own clock: the machine's, without its jumps."""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from csqa_loop.events import now

_log = logging.getLogger(__name__)
_GAIN = 0.1
"""How much faster or slower than time it runs at most, until it agrees with the machine's clock again."""
_JUMP = timedelta(minutes=1)
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine is suspended."""


def since_boot() -> float:
    """Seconds, by a clock that nobody sets."""
    return time.clock_gettime(_SINCE_BOOT)


class SteadyClock:
    """Starts at the machine's time and never goes back.

    Windows close, silence is noticed and attempts rest by it: an hour by which the machine's clock is set forward or back in between is no
    hour that passed. What the machine says all along is believed, little by little; a process that starts believes it at once.
    """

    def __init__(self, wall: Callable[[], datetime] = now, elapsed: Callable[[], float] = since_boot) -> None:
        """`wall`: the machine's time; `elapsed`: seconds, by a clock that nobody sets."""
        self._wall = wall
        self._elapsed = elapsed
        self._moment, self._at = wall(), elapsed()
        self._off = timedelta()

    def __call__(self) -> datetime:
        """The moment, in UTC."""
        at = self._elapsed()
        passed = timedelta(seconds=at - self._at)
        steady = self._moment + passed
        off, most = self._wall() - steady, passed * _GAIN
        if abs(off - self._off) > _JUMP:
            _log.warning("the clock of this machine is %+.0f s off the time that has passed; it is followed slowly", off.total_seconds())
        self._moment, self._at, self._off = steady + max(-most, min(off, most)), at, off
        return self._moment
