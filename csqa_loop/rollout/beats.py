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
_SHORTEST_BEAT_SECONDS = 0.5
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0
"""An order by hand must be carried out soon after what hindered it is over."""
_LONGEST_PAUSE_OF_LETTERS = 60.0


class Part:
    """One thing that the loop does again and again, with a trouble and pauses of its own."""

    def __init__(self, name: str, beat: Callable[[], Awaitable[object]], longest_pause: float) -> None:
        self._name = name
        self._beat = beat
        self._longest_pause = longest_pause
        self._pauses = growing(_FIRST_PAUSE, longest_pause)
        self.trouble: str | None = None
        """Why the last try did not succeed."""
        self.unforeseen = False
        """Whether that is a fault that nobody foresaw."""

    async def attempt(self) -> float | None:
        """Do it once. None where it went well, else the seconds to wait: longer after each failure."""
        try:
            await self._beat()
        except CsqaError as error:
            return self._failed(str(error), unforeseen=False)
        except Exception as error:  # ending the process would end intake and every other part too, and again after each start
            _log.exception("%s", self._name)
            return self._failed(f"{type(error).__name__}: {error}", unforeseen=True)
        self.trouble, self.unforeseen = None, False
        self._pauses = growing(_FIRST_PAUSE, self._longest_pause)
        return None

    def _failed(self, trouble: str, *, unforeseen: bool) -> float:
        self.trouble, self.unforeseen = trouble, unforeseen
        pause = next(self._pauses)
        _log.warning("%s: %s; trying again in %.1f s", self._name, trouble, pause)
        return pause


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
        may_decide: Callable[[], Awaitable[bool]],
    ) -> None:
        """`may_decide`: whether the ledger is the log's own, takes what the log brings, and has taken all that the log held."""
        self._ledger = ledger
        self._reconciler = reconciler
        self._decider = decider
        self._may_decide = may_decide
        self._pairs = Part("pairs", ledger.derive, _LONGEST_PAUSE)
        self._republishing = Part("republishing", republisher.beat, _LONGEST_PAUSE)
        self._decisions = Part("decisions", decider.beat, _LONGEST_PAUSE)
        self._letters = Part("letters", letters.beat, _LONGEST_PAUSE_OF_LETTERS)
        self.deciding = False
        """Whether decisions are being taken."""

    @property
    def troubles(self) -> dict[str, str | None]:
        """Part -> why its last try did not succeed."""
        parts = {"pairs": self._pairs, "republishing": self._republishing, "decisions": self._decisions, "letters": self._letters}
        return {name: part.trouble for name, part in parts.items()}

    @property
    def broken(self) -> bool:
        """Whether no decision is taken because of a fault that nobody foresaw."""
        return self._pairs.unforeseen or self._republishing.unforeseen or self._decisions.unforeseen

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
            await first_of(self._ledger.next_batch(batches, pause or self._decider.rest_seconds), self._reconciler.gained())
            batches = self._ledger.batches
            if not await self._may_decide():
                self.deciding = False
                continue
            pause = await self._pairs.attempt()
            if pause is None:
                self.deciding = True
                # In this order: a new log must not hold the deployment of before after the next one.
                pause = await self._republishing.attempt() or await self._decisions.attempt()
            await asyncio.sleep(_SHORTEST_BEAT_SECONDS)

    async def _publish_letters(self) -> None:
        batches = 0
        while True:
            await self._ledger.next_batch(batches, self._decider.rest_seconds)
            batches = self._ledger.batches
            pause = await self._letters.attempt() if await self._may_decide() else None
            await asyncio.sleep(pause or _SHORTEST_BEAT_SECONDS)


async def first_of(*waits: Coroutine[Any, Any, None]) -> None:
    """Return as soon as one of them has returned; cancel the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
