"""Questions the loop and the operator API ask the ledger."""

from csqa_loop.ledger.connection import Connection

# --- intake --------------------------------------------------------------------------------------------------------


def has_event(connection: Connection, event_id: str) -> bool:
    """Whether the ledger holds the event."""
    return connection.execute("SELECT 1 FROM events WHERE event_id = ?", [event_id]).fetchone() is not None


def next_offsets(connection: Connection) -> dict[tuple[str, int], tuple[int, str]]:
    """(topic, partition) -> (next offset, hash of the last record taken)."""
    rows = connection.execute("SELECT topic, partition, next_offset, last_record_sha FROM offsets").fetchall()
    return {(topic, partition): (offset, sha) for topic, partition, offset, sha in rows}


def misdated(connection: Connection) -> int:
    """Events that were dated by their records because they lay in the future of them."""
    row = connection.execute("SELECT count(claimed_at) FROM events").fetchone()
    return int(row[0]) if row else 0


def recorded_counts(connection: Connection) -> dict[str, int]:
    """Chats (answers), feedback, bad cases and dead letters."""
    row = connection.execute(
        "SELECT (SELECT count(*) FROM answers), (SELECT count(*) FROM feedback), (SELECT count(*) FROM bad_cases), (SELECT count(*) FROM dead_letters)"
    ).fetchone()
    return dict(zip(("chats", "feedback", "bad_cases", "dead_letters"), row or (0, 0, 0, 0), strict=True))
