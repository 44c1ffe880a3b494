"""Records that the log deleted before the ledger read them: found, kept, and red until an operator has acknowledged them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from csqa_loop.events import now
from csqa_loop.ledger.connection import Connection
from csqa_loop.ledger.epochs import epoch


@dataclass(frozen=True, order=True)
class Gap:
    """Offsets of one partition from `start` up to, and without, `until`."""

    topic: str
    partition: int
    start: int
    until: int

    @property
    def records(self) -> int:
        """At most so many: an offset need not have held a record."""
        return self.until - self.start

    def __str__(self) -> str:
        """For people."""
        return f"{self.topic}[{self.partition}] offsets {self.start} to {self.until - 1} ({self.records})"


@dataclass(frozen=True)
class Loss:
    """A gap for good, and what an operator said about it."""

    gap: Gap
    epoch: int
    found_at: datetime
    acknowledged_at: datetime | None = None
    acknowledgement: str | None = None


def losses(connection: Connection) -> list[Loss]:
    """All, oldest first."""
    rows = connection.execute(
        "SELECT topic, partition, from_offset, until_offset, epoch, found_at, acknowledged_at, acknowledgement FROM losses "
        "ORDER BY found_at, topic, partition, from_offset"
    ).fetchall()
    return [Loss(Gap(*row[:4]), *row[4:]) for row in rows]


def unacknowledged(connection: Connection) -> list[Loss]:
    """Those that no operator has acknowledged, oldest first."""
    return [loss for loss in losses(connection) if loss.acknowledged_at is None]


def note(connection: Connection, gaps: Sequence[Gap]) -> None:
    """Keep them. One that is known and has not grown stays as it is; one that has grown is red again."""
    present = epoch(connection)
    for gap in gaps:
        connection.execute(
            "INSERT INTO losses VALUES (?, ?, ?, ?, ?, ?, NULL, NULL) ON CONFLICT DO UPDATE SET until_offset = excluded.until_offset, "
            "found_at = excluded.found_at, acknowledged_at = NULL, acknowledgement = NULL WHERE excluded.until_offset > losses.until_offset",
            [present, gap.topic, gap.partition, gap.start, gap.until, now()],
        )


def acknowledge(connection: Connection, words: str) -> int:
    """Note that an operator knows of all of them; how many were new to them."""
    rows = connection.execute(
        "UPDATE losses SET acknowledged_at = ?, acknowledgement = ? WHERE acknowledged_at IS NULL RETURNING 1", [now(), words]
    ).fetchall()
    return len(rows)
