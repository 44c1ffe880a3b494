"""When the loop decides: after new records or a newly served adapter, and never while the ledger is behind the log."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from csqa_loop.errors import CsqaError
from csqa_loop.ledger.service import LedgerService
from csqa_loop.rollout.decider import Decider
from csqa_loop.rollout.housekeeping import Housekeeper
from csqa_loop.rollout.reconciler import Reconciler

_log = logging.getLogger(__name__)
_SHORTEST_BEAT_SECONDS = 0.5


class Beats:
    """One beat after the other, for as long as the process lives."""

    def __init__(
        self, ledger: LedgerService, reconciler: Reconciler, housekeeper: Housekeeper, decider: Decider, *, up_to_date: Callable[[], bool]
    ) -> None:
        """`up_to_date`: whether the ledger takes what the log brings, and has taken what the log held."""
        self._ledger = ledger
        self._reconciler = reconciler
        self._housekeeper = housekeeper
        self._decider = decider
        self._up_to_date = up_to_date
        self.deciding = False
        """Whether decisions are being taken."""
        self.trouble: str | None = None
        """Why the last beat did not complete."""

    async def run(self) -> None:
        """Beat until cancelled."""
        batches = 0
        while True:
            # Batches taken while the last beat was at work, or slept, end the wait at once.
            await first_of(self._ledger.next_batch(batches, self._decider.rest_seconds), self._reconciler.gained())
            batches = self._ledger.batches
            if not self._up_to_date():
                self.deciding = False
                continue
            try:
                await self._ledger.derive()
                self.deciding = True
                await self._housekeeper.beat()
                await self._decider.beat()
                self.trouble = None
            except CsqaError as error:
                self.trouble = str(error)
                _log.warning("the next beat tries again: %s", error)
            await asyncio.sleep(_SHORTEST_BEAT_SECONDS)


async def first_of(*waits: Coroutine[Any, Any, None]) -> None:
    """Return as soon as one of them has returned; cancel the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
