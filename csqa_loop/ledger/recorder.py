"""Taking the log into the ledger: decode one by one, mask once more, take the batch whole; only then is its offset committed to Kafka."""

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from csqa_loop.errors import PermanentError
from csqa_loop.events import Event
from csqa_loop.events.wire import decode
from csqa_loop.ledger.facts import Rows, tables_of
from csqa_loop.ledger.rules.batch import Letter, marks_of
from csqa_loop.log.records import LogRecord
from csqa_loop.retry import FailedTry, growing, retried

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 10.0

R = TypeVar("R")
"""A batch as the ledger wants it."""
Masking = Callable[[Event], Event]
"""Pseudonymises and masks; doing it twice changes nothing."""


def sort_out(records: Sequence[LogRecord], masked: Masking) -> Rows:
    """Facts, laid out, and dead letters of a batch. A bad record does not affect the others, whatever it holds."""
    letters: list[Letter] = []
    try:
        tables = tables_of(_facts_of(records, masked, letters))
    except Exception:  # which record it is, and what of it no column takes, is found out below
        letters.clear()
        tables = tables_of([fact for fact in _facts_of(records, masked, letters) if _can_be_laid_out(fact, letters)])
    return Rows(tables, facts_among(records, letters), letters, marks_of(records))


def facts_among(records: Sequence[LogRecord], letters: Sequence[Letter]) -> Sequence[LogRecord]:
    """The records that are no `letters`."""
    refused = {letter.record[:3] for letter in letters}
    return [record for record in records if record[:3] not in refused] if refused else records


def _can_be_laid_out(fact: tuple[Event, LogRecord], letters: list[Letter]) -> bool:
    event, record = fact
    try:
        tables_of([fact])
    except Exception as error:  # any: a record that no column takes must not stop those beside it
        _log.exception("%s %s cannot be laid out", event.type, event.event_id)
        letters.append(Letter(record, f"{record.topic}: no column takes it: {_named(error)}", event_id=str(event.event_id)))
        return False
    return True


def _facts_of(records: Iterable[LogRecord], masked: Masking, letters: list[Letter]) -> Iterator[tuple[Event, LogRecord]]:
    """The facts one by one, so that a caller need not keep them all; records that are no facts join `letters`."""
    for record in records:
        try:
            event = masked(decode(record.topic, record.value))
        except PermanentError as error:
            letters.append(Letter(record, str(error), event_id=_event_id(record.value)))
        except Exception as error:  # a fault of ours that this record brings out: it must not stop those beside it
            _log.exception("%s[%d] at %d cannot be read", record.topic, record.partition, record.offset)
            letters.append(Letter(record, f"{record.topic}: it cannot be read: {_named(error)}", event_id=_event_id(record.value)))
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


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _event_id(value: bytes | None) -> str | None:
    """The id a refused record claims, so that its producer can be shown where the event went (I1)."""
    try:
        body = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    claimed = body.get("event_id") if isinstance(body, dict) else None
    return claimed.lower() if isinstance(claimed, str) else None
