"""What the loop still has to publish: after a change of log the facts that every process starts from, and dead letters."""

import logging
from collections.abc import Sequence

from csqa_loop.errors import PermanentError
from csqa_loop.events import DeadLettered
from csqa_loop.ledger.letters import letters_to_publish
from csqa_loop.ledger.service import LedgerService
from csqa_loop.log.bus import Bus, RawBus
from csqa_loop.rollout.epochs import unpublished_epoch

_log = logging.getLogger(__name__)


class Republisher:
    """Fills a log that came back empty. Crashing half way through repeats some of it, which changes nothing: ids are the same."""

    def __init__(self, ledger: LedgerService, bus: RawBus) -> None:
        self._ledger = ledger
        self._bus = bus

    async def beat(self) -> None:
        """Publish what the new log lacks. Decisions wait for it: a deployment of before must not come after the next one.

        Raises:
            TransientError: the log did not take it; the next beat tries again.
        """
        unpublished = await self._ledger.ask(unpublished_epoch)
        if unpublished:
            await self._bus.carry(*unpublished.facts)
            await self._ledger.mark_republished(unpublished.epoch, unpublished.asked)
            _log.warning("epoch %d: the log was told %d current fact(s) again", unpublished.epoch, len(unpublished.facts))


class LetterPublisher:
    """Publishes dead letters. Nothing waits for it."""

    def __init__(self, ledger: LedgerService, bus: Bus) -> None:
        self._ledger = ledger
        self._bus = bus

    async def beat(self) -> None:
        """Publish every letter that is unpublished now.

        Raises:
            TransientError: the log did not take them; the next beat tries again.
        """
        while letters := await self._ledger.ask(letters_to_publish):
            await self._publish(letters)
            await self._ledger.mark_letters_published([letter.letter_id for letter in letters])

    async def _publish(self, letters: Sequence[DeadLettered]) -> None:
        try:
            await self._bus.publish(*letters)
        except PermanentError as error:
            # The topic takes less than it should: no letter waits for another, and one that is too large goes without its value.
            _log.error("%d dead letter(s) cannot be published together: %s", len(letters), error)
            if len(letters) == 1:
                await self._bus.publish(letters[0].model_copy(update={"value_base64": "", "cut": True}))
                return
            for letter in letters:
                await self._publish([letter])
