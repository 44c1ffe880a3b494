"""A log in memory whose records have places and timestamps of their own, whatever their events say."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from csqa_loop import events as e
from csqa_loop.events.topics import CHUNKS, POLICIES
from csqa_loop.events.wire import decode
from csqa_loop.knowledge.index import KnowledgeIndex
from csqa_loop.knowledge.rules.vectors import pack_vector
from csqa_loop.ledger import Ledger
from csqa_loop.ledger.recorder import sort_out
from csqa_loop.log.records import LogRecord, microseconds
from csqa_loop.rollout.epochs import unpublished_epoch
from tests import events as make

_VECTOR = np.array([1.0, 0.0], np.float32)


@dataclass
class Log:
    """Records in the order in which they were written. The keys of a topic lie in `partitions` partitions."""

    stamped: bool = True
    """Whether the broker dates them."""
    partitions: int = 2
    shift: int = 0
    """Moves keys to other partitions."""
    records: list[LogRecord] = field(default_factory=list)

    def write(self, event: e.Event, second: float, *, carried: datetime | None = None) -> None:
        """The broker gets it `second` seconds after the test's start."""
        partition = (sum(event.key.encode()) + self.shift) % self.partitions
        offset = sum((record.topic, record.partition) == (event.topic, partition) for record in self.records)
        moment = int(make.at(second).timestamp() * 1000)
        self.records.append(
            LogRecord(
                event.topic, partition, offset, event.key.encode(), event.to_json(), moment, self.stamped,
                None if carried is None else microseconds(carried),
            )
        )  # fmt: skip

    def read(self, chance: random.Random) -> list[LogRecord]:
        """As a consumer may see them: in order within a partition only."""
        waiting: dict[tuple[str, int], list[LogRecord]] = defaultdict(list)
        for record in self.records:
            waiting[record.topic, record.partition].append(record)
        turns = [(record.topic, record.partition) for record in self.records]
        chance.shuffle(turns)
        return [waiting[turn].pop(0) for turn in turns]

    def copied(self, times: int, *, shift: int) -> "Log":
        """Its content so many times, one after the other, the keys in other partitions."""
        copy = Log(self.stamped, self.partitions, shift)
        ends: dict[tuple[str, int], int] = defaultdict(int)
        for record in self.records * times:
            partition = (record.partition + shift) % self.partitions
            copy.records.append(record._replace(partition=partition, offset=ends[record.topic, partition]))
            ends[record.topic, partition] += 1
        return copy


def take(ledger: Ledger, records: Iterable[LogRecord], chance: random.Random) -> None:
    """In batches of any size; pairs sometimes later."""
    waiting = list(records)
    while waiting:
        size = chance.randint(1, 6)
        ledger.take(sort_out(waiting[:size], lambda event: event), later=chance.random() < 0.3)
        waiting = waiting[size:]
    while ledger.derive():
        pass


def told_again(ledger: Ledger, write: Callable[[e.Event, datetime], None], read: Callable[[], Sequence[LogRecord]]) -> int:
    """What the loop does until the log says last what is current; how often it had to."""
    for times in range(10):
        missing = unpublished_epoch(ledger.connection)
        if missing is None:
            return times
        for event, moment in missing.facts:
            write(event, moment)
        ledger.take(sort_out(read(), lambda event: event))
        ledger.mark_republished(missing.epoch, missing.asked)
    raise AssertionError("the log is told what is current again and again")


class Gateway:
    """A gateway's index; an indexer has made the chunks of every version."""

    def __init__(self) -> None:
        self.index = KnowledgeIndex("e", 2)

    def follow(self, records: Iterable[LogRecord]) -> None:
        """In the order given, which is that of the log within each partition."""
        for record in records:
            if record.topic != POLICIES:
                continue
            self.index.apply(record)
            event = decode(record.topic, record.value)
            if isinstance(event, e.PolicyPublished):
                self.index.apply(LogRecord(CHUNKS, record.partition, record.offset, record.key, _indexed(event).to_json()))

    def serves(self) -> dict[str, str]:
        """policy_id -> version."""
        return {hit.policy_id: hit.version for hit in self.index.search(_VECTOR, 100)}


def _indexed(event: e.PolicyPublished) -> e.PolicyIndexed:
    chunk = e.Chunk(chunk_id=f"{event.policy_id}@{event.version}#0", section="s", text=event.text, vector=pack_vector(_VECTOR))
    return e.PolicyIndexed(
        occurred_at=make.at(0), policy_id=event.policy_id, version=event.version, title="t", encoder="e", dimension=2, chunks=(chunk,)
    )


def current(ledger: Ledger) -> dict[str, str]:
    """policy_id -> version, as the ledger has it."""
    return dict(ledger.connection.execute("SELECT policy_id, version FROM current_policies WHERE NOT withdrawn").fetchall())
