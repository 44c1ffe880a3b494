"""Garbage collection of processes that take batches of the log."""

import gc

_THRESHOLD = 500_000


def collect_seldom() -> None:
    """A batch is tens of thousands of objects without a cycle: looking for cycles among them takes longer than decoding them."""
    gc.freeze()
    gc.set_threshold(_THRESHOLD, 10, 10)
