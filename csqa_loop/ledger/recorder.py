"""Taking the log into the ledger: decode one by one, mask once more, take the batch whole; only then is its offset committed to Kafka."""

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from csqa_loop.errors import PermanentError
from csqa_loop.events import Event
from csqa_loop.events.wire import decode
from csqa_loop.ledger.rules.batch import Batch, Letter, marks_of
from csqa_loop.log.records import LogRecord
from csqa_loop.retry import FailedTry, growing, retried

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 10.0

R = TypeVar("R")
"""A batch as the ledger wants it."""
Masking = Callable[[Event], Event]
"""Pseudonymises and masks; doing it twice changes nothing."""


def sort_out(records: Sequence[LogRecord], masked: Masking) -> Batch:
    """Facts and dead letters of a batch. A bad record does not affect the others."""
    letters: list[Letter] = []
    facts = list(facts_of(records, masked, letters))
    return Batch(facts=facts, letters=letters, marks=marks_of(records))


def facts_of(records: Iterable[LogRecord], masked: Masking, letters: list[Letter]) -> Iterator[tuple[Event, LogRecord]]:
    """The facts one by one, so that a caller need not keep them all; records that are no facts join `letters`."""
    for record in records:
        try:
            event = masked(decode(record.topic, record.value))
        except PermanentError as error:
            letters.append(Letter(record, str(error), event_id=_event_id(record.value)))
        else:
            yield event, record


class Recorder(Generic[R]):
    """Tries every batch until it is taken: while the disk refuses, it waits, and nothing is committed to Kafka."""

    def __init__(self, take: Callable[[R], Awaitable[int]]) -> None:
        self._take = take
        self.trouble: str | None = None
        """Why the ledger takes nothing at present."""

    async def record(self, batch: R) -> int:
        """Return once the batch is durable; the number of new facts."""

        def report_failure(failed: FailedTry) -> None:
            self.trouble = str(failed.error)
            _log.warning("%s; trying again in %.1f s", failed.error, failed.pause)

        fresh = await retried(lambda: self._take(batch), growing(0.2, _LONGEST_PAUSE), on_failure=report_failure)
        self.trouble = None
        return fresh


def _event_id(value: bytes | None) -> str | None:
    """The id a refused record claims, so that its producer can be shown where the event went (I1)."""
    try:
        body = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    claimed = body.get("event_id") if isinstance(body, dict) else None
    return claimed.lower() if isinstance(claimed, str) else None
