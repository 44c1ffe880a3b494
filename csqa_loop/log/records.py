"""A record as it lies in the log or is on its way there, and what identifies its content."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from csqa_loop.errors import PermanentError
from csqa_loop.events import Event
from csqa_loop.events.topics import MAX_RECORD_BYTES

_EPOCH = datetime.fromtimestamp(0, UTC)
_FRAMING_BYTES = 1024
"""More than a record batch adds to one record: header, lengths, the `type` header. The broker's limit is on the batch."""


class LogRecord(NamedTuple):
    """One record as it lies in the log."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int = 0
    """0 or less: it has none."""
    is_stamped: bool = False
    """Whether the timestamp is the broker's; else it is whatever the producer said."""
    carried_us: int | None = None
    """Set by the loop alone, on a fact that it says again in a new log: when the former log had it. Such a record is no new word."""


CARRIED = "csqa-recorded-at"
"""The header with `carried_us`, in decimal digits: microseconds since 1970."""


def microseconds(moment: datetime) -> int:
    """Since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


class Outgoing(NamedTuple):
    """One record on its way to the log."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


def outgoing(event: Event) -> Outgoing:
    """The record of an event.

    Raises:
        PermanentError: it is larger than a record may be.
    """
    key, value = event.key.encode(), event.to_json()
    size = len(key) + len(value) + _FRAMING_BYTES
    if size > MAX_RECORD_BYTES:
        raise PermanentError(
            f"{event.type} {event.event_id} for {event.topic} is {size} bytes with its framing; a record may have {MAX_RECORD_BYTES}"
        )
    return Outgoing(event.topic, key, value, (("type", event.type.encode()),))


def carried(event: Event, moment: datetime) -> Outgoing:
    """The record of an event that a former log had at `moment`."""
    record = outgoing(event)
    return record._replace(headers=(*record.headers, (CARRIED, b"%d" % microseconds(moment))))


def record_sha(key: bytes | None, value: bytes | None) -> str:
    """Identifies a record's content, to notice that a broker came back with another log."""
    digest = hashlib.sha256()
    for part in (key or b"", value or b""):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]
