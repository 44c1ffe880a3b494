"""A record as it lies in the log, and what identifies its content."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_EPOCH = datetime.fromtimestamp(0, UTC)


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


def record_sha(key: bytes | None, value: bytes | None) -> str:
    """Identifies a record's content, to notice that a broker came back with another log."""
    digest = hashlib.sha256()
    for part in (key or b"", value or b""):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]
