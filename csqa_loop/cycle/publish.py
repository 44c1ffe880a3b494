"""What the loop owes the log: dead letters, and after a change of log the facts that everybody needs to start from."""

import logging
from typing import Protocol

from csqa_loop.cycle.ports import Bus
from csqa_loop.domain.events import DeadLettered, Event

_log = logging.getLogger(__name__)


class Debts(Protocol):
    """What the ledger says is still to be published."""

    async def letters_owed(self) -> list[DeadLettered]:
        """Dead letters that are not yet in their topic."""
        ...

    async def letters_paid(self, letters: list[DeadLettered]) -> None:
        """They are."""
        ...

    async def epoch_owed(self) -> tuple[int, list[Event]] | None:
        """(epoch, events) where a new log lacks the current policies, the deployment and the open training request."""
        ...

    async def epoch_paid(self, epoch: int) -> None:
        """It has them."""
        ...


class Housekeeper:
    """Publishes what is owed. Crashing half way through repeats some of it, which changes nothing: ids are the same."""

    def __init__(self, debts: Debts, bus: Bus) -> None:
        self._debts = debts
        self._bus = bus

    async def beat(self) -> None:
        """Pay everything owed now.

        Raises:
            TransientError: the log did not take it; the next beat pays.
        """
        owed = await self._debts.epoch_owed()
        if owed:
            epoch, events = owed
            await self._bus.publish(*events)
            await self._debts.epoch_paid(epoch)
            _log.warning("epoch %d: %d current fact(s) republished into the new log", epoch, len(events))
        while letters := await self._debts.letters_owed():
            await self._bus.publish(*letters)
            await self._debts.letters_paid(letters)
