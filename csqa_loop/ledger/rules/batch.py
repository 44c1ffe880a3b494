"""One batch of the log, sorted into facts and dead letters, ready to be taken in one transaction."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from csqa_loop.events import DeadLettered, Event, derived_id
from csqa_loop.log.records import LogRecord, record_sha


@dataclass(frozen=True)
class Letter:
    """A record that cannot become a fact, kept whole with the reason."""

    record: LogRecord
    reason: str
    event_id: str | None = None

    @property
    def letter_id(self) -> str:
        """SHA-256 of topic, key and value: delivering it twice makes one letter."""
        digest = hashlib.sha256()
        for part in (self.record.topic.encode(), self.record.key or b"", self.record.value or b""):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()

    def as_event(self, occurred_at: datetime) -> DeadLettered:
        """What is published to `csqa.dead-letters`."""
        return DeadLettered(
            event_id=derived_id(self.letter_id, "DeadLettered"),
            occurred_at=occurred_at,
            letter_id=self.letter_id,
            original_topic=self.record.topic,
            original_key=(self.record.key or b"").decode(errors="replace"),
            partition=self.record.partition,
            offset=self.record.offset,
            value_base64=base64.b64encode(self.record.value or b"").decode(),
            reason=self.reason,
        )


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
