"""One batch of the log, sorted into facts and dead letters, ready to be taken in one transaction."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from csqa_loop.events import Event
from csqa_loop.log.records import LogRecord, record_sha

_MOST_REASON = 2000
_MOST_NAME = 200


@dataclass(frozen=True)
class Letter:
    """A record that cannot become a fact, with the reason.

    Reason and claimed id may quote the record, which may hold anything: they are made text that every store and JSON take, and bounded.
    """

    record: LogRecord
    reason: str
    event_id: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", _plain(self.reason, _MOST_REASON))
        if self.event_id is not None:
            # No event has an id as long as that; one that is cut would be another's.
            object.__setattr__(self, "event_id", _plain(self.event_id, _MOST_NAME) if len(self.event_id) <= _MOST_NAME else None)

    @property
    def letter_id(self) -> str:
        """SHA-256 of topic, key and value: delivering it twice makes one letter."""
        digest = hashlib.sha256()
        for part in (self.record.topic.encode(), self.record.key or b"", self.record.value or b""):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()


def value_sha(value: bytes | None) -> str:
    """64 hex of a record's value; the first 32 are the `body_sha` of the event in it."""
    return hashlib.sha256(value or b"").hexdigest()


def key_text(key: bytes | None) -> str:
    """A key as people read it; the beginning of a long one."""
    return (key or b"")[:_MOST_NAME].decode(errors="replace")


def _plain(text: str, most: int) -> str:
    return text[:most].encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Mark:
    """How far one partition was taken."""

    topic: str
    partition: int
    next_offset: int
    last_record_sha: str


@dataclass(frozen=True)
class Batch:
    """What one transaction takes. `facts` pairs each event with the record it came from."""

    facts: Sequence[tuple[Event, LogRecord]]
    letters: Sequence[Letter]
    marks: Sequence[Mark]


def marks_of(records: Sequence[LogRecord]) -> list[Mark]:
    """The last record of every partition in the batch."""
    last = {(record.topic, record.partition): record for record in records}
    return [Mark(r.topic, r.partition, r.offset + 1, record_sha(r.key, r.value)) for r in last.values()]
