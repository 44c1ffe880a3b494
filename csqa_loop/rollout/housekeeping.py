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
            await self._bus.carry(*unpublished.facts)
            await self._ledger.mark_republished(unpublished.epoch, unpublished.asked)
            _log.warning("epoch %d: the log was told %d current fact(s) again", unpublished.epoch, len(unpublished.facts))
        while letters := await self._ledger.ask(unpublished_letters):
            await self._bus.publish(*letters)
            await self._ledger.mark_letters_published([letter.letter_id for letter in letters])
