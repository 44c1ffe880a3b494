"""Dead letters: kept in the ledger, published, listed, and dealt with by people.

Of a large record the beginning is kept, beside its size, hash and place: DuckDB holds the values of 2048 neighbouring rows in memory at once.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from csqa_loop import events as e
from csqa_loop.ledger.connection import Connection
from csqa_loop.ledger.rules.batch import Letter, key_text, value_sha
from csqa_loop.log.records import LogRecord

LetterState = Literal["waiting", "taken", "dropped"]
_MOST_TOGETHER = 500
_BYTES_TOGETHER = 16 * 1024 * 1024
MOST_KEPT = 256 * 1024
"""Bytes of a value, and of a key, up to which it is kept and published whole."""
_RECORD = 'd.topic, d.partition, d."offset", d.original_key, d.value'
_LISTED = """
SELECT d.letter_id, d.occurred_at, d.last_seen, d.topic, d.partition, d."offset", d.key, d.event_id, d.reason, d.value_bytes, d.value_sha, d.cut, d.attempts,
    CASE WHEN v.event_id IS NOT NULL THEN 'taken' WHEN h.action = 'drop' THEN 'dropped' ELSE 'waiting' END AS state,
    coalesce(h.retries, 0), h.operator, h.note
FROM (SELECT * EXCLUDE (value, original_key) FROM dead_letters) d
LEFT JOIN events v ON v.event_id = TRY_CAST(d.event_id AS UUID) AND v.body_sha = left(d.value_sha, 32)
LEFT JOIN (
    SELECT body ->> 'letter_id' AS letter_id, arg_max(body ->> 'action', (epoch, "offset", event_id)) AS action,
        arg_max(body ->> 'operator', (epoch, "offset", event_id)) AS operator, arg_max(body ->> 'reason', (epoch, "offset", event_id)) AS note,
        count(*) FILTER (body ->> 'action' = 'retry') AS retries
    FROM decisions WHERE type = 'LetterHandled' GROUP BY 1
) h USING (letter_id)
"""


@dataclass(frozen=True)
class ListedLetter:
    """A dead letter without its value."""

    letter_id: str
    occurred_at: datetime
    """When the ledger first met it."""
    last_seen: datetime
    topic: str
    partition: int
    offset: int
    """Where its bytes came last."""
    key: str
    event_id: str | None
    """As the record claims."""
    reason: str
    """Why it was refused the last time."""
    bytes: int
    """Of the whole value."""
    sha256: str
    """Of the whole value."""
    cut: bool
    """Whether the ledger holds the beginning only; the log has all of it, as long as it is kept there."""
    attempts: int
    """How often these bytes came, a retry's arrival too."""
    state: LetterState
    """`taken`: the ledger holds the event of exactly these bytes. `dropped`: a person says that nothing is to be done."""
    retries: int
    operator: str | None
    """Who dealt with it last, and why."""
    note: str | None


def insert_letters(connection: Connection, append: Callable[[str, list[dict[str, Any]]], None], letters: Sequence[Letter]) -> None:
    """Keep what is new; of what is known, note that it came again. Reading a place again, after a crash, counts nothing."""
    once = {letter.letter_id: letter for letter in letters}
    if not once:
        return
    known = dict.fromkeys(
        name for (name,) in connection.execute("SELECT letter_id FROM dead_letters WHERE letter_id IN (SELECT unnest($1))", [list(once)]).fetchall()
    )  # fmt: skip
    moment = datetime.now(UTC)
    if new := [letter for name, letter in once.items() if name not in known]:
        append("dead_letters", [_row(letter, moment) for letter in new])
    for name in known:
        letter = once[name]
        place = [letter.record.partition, letter.record.offset]
        connection.execute(
            'UPDATE dead_letters SET attempts = attempts + 1, last_seen = $3, reason = $4, partition = $1, "offset" = $2 '
            'WHERE letter_id = $5 AND (partition <> $1 OR "offset" < $2)',
            [*place, moment, letter.reason, name],
        )


def _row(letter: Letter, moment: datetime) -> dict[str, Any]:
    record = letter.record
    cut = max(len(record.key or b""), len(record.value or b"")) > MOST_KEPT
    return {
        "letter_id": letter.letter_id, "occurred_at": moment, "topic": record.topic, "key": key_text(record.key), "original_key": record.key and record.key[:MOST_KEPT],
        "value": record.value and record.value[:MOST_KEPT], "cut": cut, "partition": record.partition, "offset": record.offset, "event_id": letter.event_id, "reason": letter.reason,
        "value_bytes": len(record.value or b""), "value_sha": value_sha(record.value), "last_seen": moment,
    }  # fmt: skip


def letters_to_publish(connection: Connection) -> list[e.DeadLettered]:
    """Some of the dead letters that are not in their topic yet, oldest first: as many as may be held in memory at once."""
    rows = connection.execute(
        f"SELECT letter_id, value_bytes FROM dead_letters WHERE NOT published ORDER BY occurred_at, letter_id LIMIT {_MOST_TOGETHER}"  # noqa: S608 - a number of ours
    ).fetchall()
    names: list[str] = []
    size = 0
    for name, value_bytes in rows:
        size += min(value_bytes, MOST_KEPT)
        if names and size > _BYTES_TOGETHER:
            break
        names.append(name)
    found = connection.execute(
        f"SELECT d.letter_id, d.occurred_at, {_RECORD}, d.reason, d.value_bytes, d.value_sha, d.cut FROM dead_letters d WHERE letter_id IN (SELECT unnest($1)) ORDER BY occurred_at, letter_id",  # noqa: S608 - our own names
        [names],
    ).fetchall()
    return [_as_event(*row) for row in found]


def _as_event(
    letter_id: str, occurred_at: datetime, topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None,
    reason: str, value_bytes: int, sha: str, cut: bool,
) -> e.DeadLettered:  # fmt: skip
    return e.DeadLettered(
        event_id=e.derived_id(letter_id, "DeadLettered"),
        occurred_at=occurred_at.astimezone(UTC),
        letter_id=letter_id,
        original_topic=topic,
        original_key=key_text(key),
        partition=partition,
        offset=offset,
        value_base64=base64.b64encode(value or b"").decode(),
        value_bytes=value_bytes,
        value_sha256=sha,
        cut=cut,
        reason=reason,
    )


def letters(connection: Connection, *, state: LetterState | None = None, topic: str | None = None, limit: int = 1000) -> list[ListedLetter]:
    """What came last first."""
    rows = connection.execute(
        f"SELECT * FROM ({_LISTED}) WHERE ($1 IS NULL OR state = $1) AND ($2 IS NULL OR topic = $2) ORDER BY last_seen DESC, letter_id LIMIT $3",  # noqa: S608 - our own query
        [state, topic, limit],
    ).fetchall()
    return [_listed(row) for row in rows]


def letter_in_full(connection: Connection, letter_id: str) -> tuple[ListedLetter, LogRecord] | None:
    """The letter whose id begins like this, with its record; None where none, or more than one, does."""
    rows = connection.execute(f"SELECT * FROM ({_LISTED}) WHERE starts_with(letter_id, $1) LIMIT 2", [letter_id]).fetchall()  # noqa: S608 - our own query
    if len(rows) != 1:
        return None
    listed = _listed(rows[0])
    record = connection.execute(f"SELECT {_RECORD} FROM dead_letters d WHERE letter_id = $1", [listed.letter_id]).fetchone()  # noqa: S608 - our own names
    return listed, LogRecord(*record) if record else LogRecord(listed.topic, listed.partition, listed.offset, None, None)


def waiting_letters(connection: Connection) -> int:
    """Letters that nobody has dealt with."""
    row = connection.execute(f"SELECT count(*) FROM ({_LISTED}) WHERE state = 'waiting'").fetchone()  # noqa: S608 - our own query
    return int(row[0]) if row else 0


def _listed(row: tuple[Any, ...]) -> ListedLetter:
    letter_id, first, last, *rest = row
    return ListedLetter(letter_id, first.astimezone(UTC), last.astimezone(UTC), *rest)
