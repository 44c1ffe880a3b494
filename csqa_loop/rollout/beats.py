"""When the loop decides: after new records or a newly served adapter, and never while the ledger is behind the log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from csqa_loop.errors import CsqaError
from csqa_loop.ledger.service import LedgerService
from csqa_loop.retry import growing
from csqa_loop.rollout.decider import Decider
from csqa_loop.rollout.housekeeping import LetterPublisher, Republisher
from csqa_loop.rollout.reconciler import Reconciler

_log = logging.getLogger(__name__)
_BEAT_SECONDS = 0.5
_SHORTEST_BEAT_SECONDS = 0.5
_LONGEST_PAUSE = 5.0
"""An order by hand must be carried out soon after what hindered it is over."""
_LONGEST_PAUSE_OF_LETTERS = 60.0


class Part:
    """One thing that the loop does again and again, with a trouble and pauses of its own."""

    def __init__(self, beat: Callable[[], Awaitable[object]], longest_pause: float, foreseen: type[Exception] = CsqaError) -> None:
        """`foreseen` is what may go wrong; anything else ends the process."""
        self._beat = beat
        self._longest_pause = longest_pause
        self._foreseen = foreseen
        self._pauses = growing(_BEAT_SECONDS, longest_pause)
        self.trouble: str | None = None
        """Why the last try did not succeed."""

    async def attempt(self) -> float | None:
        """Do it once. None where it went well, else the seconds to wait: longer after each failure."""
        try:
            await self._beat()
        except self._foreseen as error:
            self.trouble = str(error) or repr(error)
            return next(self._pauses)
        self.trouble = None
        self._pauses = growing(_BEAT_SECONDS, self._longest_pause)
        return None


class Beats:
    """One beat after the other, for as long as the process lives. Letters are published beside decisions: neither waits for the other."""

    def __init__(
        self,
        ledger: LedgerService,
        reconciler: Reconciler,
        republisher: Republisher,
        letters: LetterPublisher,
        decider: Decider,
        *,
        up_to_date: Callable[[], bool],
    ) -> None:
        """`up_to_date`: whether the ledger takes what the log brings, and has taken what the log held."""
        self._ledger = ledger
        self._reconciler = reconciler
        self._up_to_date = up_to_date
        self.parts = {
            "pairs": Part(ledger.derive, _LONGEST_PAUSE),
            "republishing": Part(republisher.beat, _LONGEST_PAUSE),
            "decisions": Part(decider.beat, _LONGEST_PAUSE),
            # A letter is what nobody foresaw: it must never end the loop.
            "letters": Part(letters.beat, _LONGEST_PAUSE_OF_LETTERS, Exception),
        }
        self.deciding = False
        """Whether decisions are being taken."""

    @property
    def troubles(self) -> dict[str, str | None]:
        """Part -> why its last try did not succeed."""
        return {name: part.trouble for name, part in self.parts.items()}

    async def run(self) -> None:
        """Beat until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._decide())
            group.create_task(self._publish_letters())

    async def _decide(self) -> None:
        batches = 0
        pause: float | None = None
        while True:
            # Batches taken while the last beat was at work, or slept, end the wait at once: what they bring may need no part that fails.
            await first_of(self._ledger.next_batch(batches, pause or _BEAT_SECONDS), self._reconciler.gained())
            batches = self._ledger.batches
            if not self._up_to_date():
                self.deciding = False
                continue
            pause = await self._attempt("pairs")
            if pause is None:
                self.deciding = True
                # In this order: a new log must not hold the deployment of before after the next one.
                pause = await self._attempt("republishing") or await self._attempt("decisions")
            await asyncio.sleep(_SHORTEST_BEAT_SECONDS)

    async def _publish_letters(self) -> None:
        batches = 0
        while True:
            await self._ledger.next_batch(batches, _BEAT_SECONDS)
            batches = self._ledger.batches
            pause = await self._attempt("letters") if self._up_to_date() else None
            await asyncio.sleep(pause or _SHORTEST_BEAT_SECONDS)

    async def _attempt(self, name: str) -> float | None:
        part = self.parts[name]
        pause = await part.attempt()
        if pause is not None:
            _log.warning("%s: %s; trying again in %.1f s", name, part.trouble, pause)
        return pause


async def first_of(*waits: Coroutine[Any, Any, None]) -> None:
    """Return as soon as one of them has returned; cancel the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
