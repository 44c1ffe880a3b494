"""What the loop still has to publish: dead letters, and after a change of log the facts that every process starts from."""

import logging

from csqa_loop.ledger.bookkeeping import unpublished_letters
from csqa_loop.ledger.service import LedgerService
from csqa_loop.log.bus import Bus
from csqa_loop.rollout.epochs import unpublished_epoch

_log = logging.getLogger(__name__)


class Housekeeper:
    """Publishes what the log lacks. Crashing half way through repeats some of it, which changes nothing: ids are the same."""

    def __init__(self, ledger: LedgerService, bus: Bus) -> None:
        self._ledger = ledger
        self._bus = bus

    async def beat(self) -> None:
        """Publish everything that is unpublished now.

        Raises:
            TransientError: the log did not take it; the next beat tries again.
        """
        unpublished = await self._ledger.ask(unpublished_epoch)
        if unpublished:
            epoch, events = unpublished
            await self._bus.publish(*events)
            await self._ledger.mark_republished(epoch)
            _log.warning("epoch %d: %d current fact(s) republished into the new log", epoch, len(events))
        while letters := await self._ledger.ask(unpublished_letters):
            await self._bus.publish(*letters)
            await self._ledger.mark_letters_published([letter.letter_id for letter in letters])
