"""A record as it lies in the log, and what identifies its content."""

import hashlib
from typing import NamedTuple


class LogRecord(NamedTuple):
    """One record as it lies in the log."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int = 0


def record_sha(key: bytes | None, value: bytes | None) -> str:
    """Identifies a record's content, to notice that a broker came back with another log."""
    digest = hashlib.sha256()
    for part in (key or b"", value or b""):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]
