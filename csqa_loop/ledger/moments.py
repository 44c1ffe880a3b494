"""When a fact happened, as far as the log vouches for it: a publisher's clock is bounded here, a batch at a time, and decides nothing after."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_MOMENT = pa.timestamp("us", tz="UTC")
_MICROSECOND = timedelta(microseconds=1)
TOLERANCE = timedelta(seconds=5)
"""Clocks that are kept right differ by less. An event that lies further in the future of its own record is dated by the record."""
OLD = timedelta(days=1)
"""What lies this far before its record was not said by a slow clock: it is older data that came into the log later, and keeps its date."""
_BEFORE_THE_LOG = 2**62
_LATEST_US = 253_402_300_799_999_999
"""The end of the year 9999."""


@dataclass(frozen=True, slots=True)
class Stamps:
    """What a batch's records say of themselves, beside their events."""

    offset: NDArray[np.int64]
    timestamp_us: NDArray[np.int64]
    """0 or less: none."""
    stamped: NDArray[np.bool_]
    """Whether the timestamp is the broker's."""
    carried_us: NDArray[np.int64]
    """Below 0: not carried over from a former log."""

    @classmethod
    def of(cls, offset: Sequence[int], timestamp_ms: Sequence[int], stamped: Sequence[bool], carried_us: Sequence[int | None]) -> Self:
        """Of records, a column each."""
        carried = np.array([-1 if moment is None else moment for moment in carried_us], np.int64)
        # A producer may say any number: one that is no moment is none, or the last that there is.
        stamp_us = np.clip(np.array(timestamp_ms, np.int64), -1, _LATEST_US // 1000) * 1000
        return cls(np.array(offset, np.int64), stamp_us, np.array(stamped, np.bool_), np.minimum(carried, _LATEST_US))


@dataclass(frozen=True, slots=True)
class Dated:
    """The columns of a batch that say when and where."""

    occurred_at: pa.Array
    """The publisher's word, where it does not lie in the future of its record; else the record's timestamp."""
    claimed_at: pa.Array
    """The publisher's word, where it was not believed; else null."""
    recorded_at: pa.Array
    """What windows, blame and silence are measured by: the broker's time, where it gives one and the event is not older data; else `occurred_at`."""
    offset: pa.Array
    """The order within a log. Below 0: carried over by the loop, so it comes before all that was said in this log for the first time."""


def moments(said: pa.Array, stamps: Stamps) -> Dated:
    """The moments of a batch; `said` is what the events say themselves. A record without a timestamp is believed."""
    said_us = said.cast(pa.int64()).to_numpy()
    stamp = np.where(stamps.timestamp_us > 0, stamps.timestamp_us, np.iinfo(np.int64).max)
    claimed = said_us - TOLERANCE // _MICROSECOND > stamp
    occurred = np.where(claimed, stamp, said_us)
    live = stamps.stamped & (stamps.timestamp_us > 0) & (said_us > stamps.timestamp_us - OLD // _MICROSECOND)
    recorded = np.where(live, stamp, occurred)
    carried = stamps.carried_us >= 0
    recorded = np.where(carried, np.minimum(stamps.carried_us, stamp), recorded)
    return Dated(
        occurred_at=_moments(occurred),
        claimed_at=pa.array(said_us, pa.int64(), mask=~claimed).cast(_MOMENT),
        recorded_at=_moments(recorded),
        offset=pa.array(np.where(carried, stamps.offset - _BEFORE_THE_LOG, stamps.offset), pa.int64()),
    )


def _moments(microseconds: NDArray[np.int64]) -> pa.Array:
    return pa.array(microseconds, pa.int64()).cast(_MOMENT)
