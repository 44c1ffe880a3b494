"""A bus that goes on accepting while the broker is away: what it accepts is in the log, or on this machine's disk and on its way there."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import Event
from csqa_loop.log.records import Outgoing, outgoing
from csqa_loop.log.spool import Spool, SpoolFullError

_log = logging.getLogger(__name__)
_AGAIN_SECONDS = 0.5
_LAST_SECONDS = 2.0
"""How long a process that stops waits for the log to take what waits; the rest waits on disk for the next start."""
_DISK_SECONDS = 3.0
_BATCH = 500


class Log(Protocol):
    """The log behind the spool."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect."""

    async def ensure_topics(self) -> None:
        """Create what is missing."""

    @property
    def trouble(self) -> str | None:
        """Why nothing is acknowledged at present."""
        ...

    async def deliver(self, records: Sequence[Outgoing]) -> None:
        """Return once the broker acknowledged every record."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for the broker."""

    events: int
    bytes: int
    max_bytes: int
    oldest_seconds: float
    """How long the oldest waits; 0 where nothing does."""
    trouble: str
    """Why the spool takes nothing at the moment; empty where it does."""


class SpooledBus:
    """`log.bus.Bus`. An event that the broker does not acknowledge within `after_seconds` is accepted on disk, and so are all that come after it, in
    order, until the broker has taken them. An event may be sent twice; readers know it by its `event_id`.
    """

    def __init__(self, log: Log, spool: Spool, *, after_seconds: float) -> None:
        self._inner = log
        self._spool = spool
        self._after = after_seconds
        self._open = False
        self._trouble = "it is not open yet"
        self._behind = 0
        """Records that are handed to the spool and not yet to the log: what comes next waits behind them."""
        self._doubtful = True
        """Whether the broker may have come back as another one: what it acknowledges without having the topic would be lost."""
        self._said = False
        """Whether it is in this process's log that events wait."""
        self._queue: list[tuple[Sequence[Outgoing], asyncio.Future[None]]] = []
        self._waits, self._idle = asyncio.Event(), asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take up what waits from before, then connect.

        Raises:
            TransientError: the broker does not answer within the bound. The spool accepts all the same.
        """
        if not self._tasks:
            await self._try_to_open()
            self._tasks = [self._spawn(self._keep_open(), "spool"), self._spawn(self._drain(), "spool drain")]
        await self._inner.start()

    async def stop(self) -> None:
        """Give the log a moment to take what waits, and close for good."""
        if self._behind and self._open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await self._idle.wait()
        self._open, self._trouble = False, "this process is stopping"
        if self._writing:
            await asyncio.wait([self._writing], timeout=_DISK_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._inner.stop()
        await asyncio.to_thread(self._spool.close)

    async def ensure_topics(self) -> None:
        """As the log's."""
        await self._inner.ensure_topics()

    async def publish(self, *events: Event) -> None:
        """Return once every event is in the log, or on disk and on its way there.

        Raises:
            TransientError: neither; some may be accepted all the same, so publish the same events again.
            PermanentError: an event is larger than a record may be; none was accepted.
        """
        records = [outgoing(event) for event in events]
        if not self._open:
            await self._inner.deliver(records)
            return
        if not self._behind:
            try:
                async with asyncio.timeout(self._after):
                    await self._inner.deliver(records)
            except (TimeoutError, TransientError) as error:
                _log.debug("the log did not take %d event(s) at once: %r", len(records), error)
            else:
                return
        await self._accept(records)

    @property
    def trouble(self) -> str | None:
        """Why nothing is accepted; None while the broker acknowledges, or the spool takes what comes."""
        away = self._inner.trouble
        return f"{away}; the spool: {self._trouble or 'closed'}" if away and (self._trouble or not self._open) else None

    def waiting(self) -> Waiting:
        """What waits for the broker now."""
        oldest = self._spool.oldest
        return Waiting(
            events=self._spool.events,
            bytes=self._spool.size,
            max_bytes=self._spool.max_bytes,
            oldest_seconds=max(time.time() - oldest, 0.0) if oldest else 0.0,
            trouble=self._trouble,
        )

    async def _accept(self, records: Sequence[Outgoing]) -> None:
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._behind += len(records)
        self._idle.clear()
        self._queue.append((records, accepted))
        if self._writing is None or self._writing.done():
            self._writing = self._spawn(self._write(), "spool write")
        try:
            async with asyncio.timeout(_DISK_SECONDS):
                await accepted
        except TimeoutError as error:
            raise TransientError(f"the disk of the spool in {self._spool.folder} does not answer within {_DISK_SECONDS:g} s") from error

    async def _write(self) -> None:
        """What arrives during one sync shares the next."""
        while self._queue:
            batch, self._queue = self._queue, []
            try:
                taken = await asyncio.to_thread(self._spool.append, [records for records, _ in batch])
                error: TransientError = SpoolFullError(
                    f"the log does not answer, and the spool in {self._spool.folder} is full: {self._spool.size} of "
                    f"CSQA_SPOOL__MAX_BYTES = {self._spool.max_bytes} bytes wait for it"
                )
                self._trouble = str(error) if taken < len(batch) else ""
            except Exception as refused:  # whatever it is, nobody may wait for an answer that does not come
                taken, error = 0, refused if isinstance(refused, TransientError) else TransientError(f"the spool failed: {refused!r}")
                self._trouble = str(error)
                _log.error("%s", error)
            if taken:
                self._waits.set()
            for place, (records, accepted) in enumerate(batch):
                if place >= taken:
                    self._delivered(len(records))
                if accepted.done():
                    continue  # its caller has left
                if place < taken:
                    accepted.set_result(None)
                else:
                    accepted.set_exception(error)

    async def _drain(self) -> None:
        while True:
            await self._waits.wait()
            self._waits.clear()  # before looking, so that what comes meanwhile is looked for again
            try:
                while records := await asyncio.to_thread(self._spool.head, _BATCH):
                    if self._doubtful:
                        await self._inner.ensure_topics()
                        self._doubtful = False
                    await self._hand_over(records)
            except Exception as error:  # what waits must not wait for ever because of one failure that nobody foresaw
                level = logging.DEBUG if self._said else logging.WARNING
                _log.log(level, "events wait in %s until the log takes them: %s", self._spool.folder, error)
                self._said = self._doubtful = True
                await asyncio.sleep(_AGAIN_SECONDS)
                self._waits.set()
                continue
            if self._said:
                _log.warning("the log has taken all that waited in %s", self._spool.folder)
            self._said, self._doubtful = False, True

    async def _hand_over(self, records: Sequence[Outgoing]) -> None:
        try:
            await self._inner.deliver(records)
        except PermanentError as error:
            if len(records) > 1:
                for record in records:
                    await self._hand_over([record])
                return
            await asyncio.to_thread(self._spool.set_aside, records[0], str(error))
        await asyncio.to_thread(self._spool.drop, len(records))
        self._trouble = ""
        self._delivered(len(records))

    def _delivered(self, count: int) -> None:
        self._behind -= count
        if not self._behind:
            self._idle.set()

    async def _keep_open(self) -> None:
        while not self._open:
            await asyncio.sleep(_AGAIN_SECONDS)
            await self._try_to_open()

    async def _try_to_open(self) -> None:
        try:
            await asyncio.to_thread(self._spool.open)
        except TransientError as error:
            if str(error) != self._trouble:
                _log.error("%s; until it can, nothing is accepted while the log is away", error)
            self._trouble = str(error)
            return
        self._open, self._trouble = True, ""
        self._behind += self._spool.events
        if self._behind:
            self._waits.set()

    @staticmethod
    def _spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return asyncio.create_task(work, name=name)
