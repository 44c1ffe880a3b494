"""Epochs of the log: which one facts are read from, and whether it holds what every process starts from."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from csqa_loop.events import PolicyPublished
from csqa_loop.ledger.connection import Connection, incoming
from csqa_loop.ledger.facts import Rows
from csqa_loop.ledger.rules.batch import Letter

_LAST_WORDS = """
SELECT 1 FROM (SELECT arg_max(event_id, place) AS event_id FROM incoming GROUP BY policy_id)
WHERE event_id NOT IN (SELECT event_id FROM current_policies) LIMIT 1
"""
"""A row where the last record on some policy in the batch `incoming` is not its current version.

Gateways and compaction go by the last record. To the ledger a fact that is repeated late is no new word: a producer tried twice, or a former
log's policy was published again while its owner published the next one.
"""


def epoch(connection: Connection) -> int:
    """The current log epoch, from 1. Rows of epoch 0 are from before places were kept."""
    row = connection.execute("SELECT coalesce(max(epoch), 1) FROM epochs").fetchone()
    return int(row[0]) if row else 1


def placed(connection: Connection, tables: Mapping[str, pa.Table]) -> Mapping[str, pa.Table]:
    """Rows with the epoch of the log that they were read from."""
    number = pa.scalar(epoch(connection), pa.int32())
    return {table: rows.append_column("epoch", pa.repeat(number, len(rows))) for table, rows in tables.items()}


def is_outdated(connection: Connection, rows: Rows, letters: Sequence[Letter]) -> bool:
    """Whether the log's last word on a policy is not the current one, now that the batch is in."""
    # What the loop itself said again is no reason to say it once more.
    if any(letter.record.topic == PolicyPublished.topic and letter.record.carried_us is None for letter in letters):
        return True
    if "policies" not in rows.tables:
        return False
    with incoming(connection, rows.tables["policies"].select(["place", "policy_id", "event_id"])):
        return connection.execute(_LAST_WORDS).fetchone() is not None


def begin_epoch(connection: Connection, partitions: Sequence[tuple[str, int]], reason: str) -> int:
    """The next epoch, whose log is to be read from its beginning in `partitions`."""
    number = epoch(connection) + 1
    connection.execute("INSERT INTO epochs VALUES (?, now(), ?, false, 0)", [number, reason])
    for topic, partition in partitions:
        connection.execute("DELETE FROM offsets WHERE topic = ? AND partition = ?", [topic, partition])
    return number


def ask_again(connection: Connection) -> None:
    """The log has to be told once more what is current."""
    number = epoch(connection)
    connection.execute("INSERT INTO epochs VALUES (?, now(), 'the first log', true, 0) ON CONFLICT DO NOTHING", [number])
    connection.execute("UPDATE epochs SET republished = false, asked = asked + 1 WHERE epoch = ?", [number])


def mark_republished(connection: Connection, number: int, asked: int) -> None:
    """The log was told what is current, unless it was asked for again since: `asked` is how often it had been."""
    connection.execute("UPDATE epochs SET republished = true WHERE epoch < $1 OR (epoch = $1 AND asked = $2)", [number, asked])
