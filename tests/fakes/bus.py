"""The log in memory, for tests of what publishes. It passes the contract suite of the real one."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import Event
from csqa_loop.events.topics import MAX_RECORD_BYTES
from csqa_loop.events.wire import decode
from csqa_loop.log import Record
from csqa_loop.log.records import CARRIED, Outgoing, carried, outgoing

E = TypeVar("E", bound=Event)


class MemoryBus:
    """A `Bus` that keeps records. One partition a topic; acknowledged is what `records` holds.

    Failure injection: `fail(times)` makes the next publishes raise TransientError without writing; `lose_acknowledgements(times)` makes
    them write and raise all the same, as a connection lost after the write does; `hold()` keeps publishes waiting until `release()`.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._failures = 0
        self._lost = 0
        self._open = asyncio.Event()
        self._open.set()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def ensure_topics(self) -> None: ...

    async def publish(self, *events: Event) -> None:
        await self.deliver([outgoing(event) for event in events])

    async def carry(self, *facts: tuple[Event, datetime]) -> None:
        await self.deliver([carried(event, moment) for event, moment in facts])

    async def deliver(self, records: Sequence[Outgoing]) -> None:
        await self._open.wait()
        if self._failures:
            self._failures -= 1
            raise TransientError("the fake log was told to fail")
        for topic, key, value, headers in records:
            said = dict(headers).get(CARRIED)
            stamp = int(time.time() * 1000)
            self.records.append(
                Record(topic, 0, len(self.of_topic(topic)), key, value, stamp, carried_us=None if said is None else int(said))
            )
        if self._lost:
            self._lost -= 1
            raise TransientError("the fake log lost the acknowledgement")

    async def send(self, topic: str, key: bytes | None, value: bytes) -> None:
        if len(key or b"") + len(value) > MAX_RECORD_BYTES:
            raise PermanentError(f"the record of {topic} is larger than a record may be ({MAX_RECORD_BYTES} bytes)")
        await self._open.wait()
        if self._failures:
            self._failures -= 1
            raise TransientError("the fake log was told to fail")
        self.records.append(Record(topic, 0, len(self.of_topic(topic)), key, value, 0))

    @property
    def events(self) -> list[Event]:
        """Everything written, decoded, in order."""
        return [decode(record.topic, record.value) for record in self.records]

    def of_type(self, kind: type[E]) -> list[E]:
        """The events of one type, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def of_topic(self, topic: str) -> list[Record]:
        """What one topic holds."""
        return [record for record in self.records if record.topic == topic]

    def fail(self, times: int = 1) -> None:
        self._failures = times

    def lose_acknowledgements(self, times: int = 1) -> None:
        self._lost = times

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def load(self, records: Iterable[Record]) -> None:
        """Records as other writers leave them: malformed ones too."""
        self.records.extend(records)
