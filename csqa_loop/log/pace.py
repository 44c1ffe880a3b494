"""How long a consumer's fetches wait at the broker: briefly while records come, long while none do."""

import time
from collections.abc import Callable
from typing import Any

_BUSY_MS = 50
_IDLE_MS = 1000
_BUSY_SECONDS = 5.0
"""After the last record."""
_POLL_MS = 1000
"""A wait in this process, which a record ends at once: how soon a consumer that is stopped or idle is noticed."""


class Pace:
    """Of one started consumer.

    Kafka answers a waiting fetch when a record comes, so that an idle consumer may wait long. A busy one may not: what comes to a partition whose
    records are being handed out waits until the fetch of all others has returned. The embedded broker does not wake a fetch; it looks for records
    at halves of the wait, which is the age of the first record after a pause.
    """

    def __init__(self, consumer: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetcher = consumer._fetcher  # noqa: SLF001 - it reads its wait anew for each fetch, and has no public way to set it
        self._clock = clock
        self._busy_until = clock() + _BUSY_SECONDS

    def took(self, *, records: bool) -> None:
        """Tell whether the consumer has just handed out records. In the task that took them: before the next fetch is made."""
        now = self._clock()
        if records:
            self._busy_until = now + _BUSY_SECONDS
        self._fetcher._fetch_max_wait_ms = _BUSY_MS if now < self._busy_until else _IDLE_MS  # noqa: SLF001


def pace(consumer: Any) -> None:
    """Let a started consumer's `getmany` wait for records instead of its caller, and set its fetches' wait each time."""
    own, paced = consumer.getmany, Pace(consumer)

    async def getmany(*partitions: Any, timeout_ms: int = _POLL_MS, max_records: int | None = None) -> Any:
        batches = await own(*partitions, timeout_ms=max(timeout_ms, _POLL_MS), max_records=max_records)
        paced.took(records=bool(batches))
        return batches

    consumer.getmany = getmany
