"""A process's place in a consumer group: FastStream's subscriber with this project's settings, and the middleware that sees every message."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from faststream import AckPolicy, BaseMiddleware, ContextRepo
from faststream.kafka import KafkaBroker, KafkaMessage

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events.topics import MAX_RECORD_BYTES
from csqa_loop.log.headers import read_any_headers
from csqa_loop.log.pace import pace
from csqa_loop.log.reader import to_record
from csqa_loop.log.records import LogRecord
from csqa_loop.settings import Settings
from streams.process import Process, ended

_log = logging.getLogger(__name__)
_SESSION_MS = 10_000
_POLL_MS = 20
_FETCH_BYTES = MAX_RECORD_BYTES + 64 * 1024
R = TypeVar("R")


class Subscription:
    """Batches of raw records, in the order of each partition, one batch after the other.

    At least once: nothing is acknowledged but by `acknowledge`, or by committing offsets to `consumer` by name. After a message that `take`
    raised on, no other is taken and the process ends: an acknowledgement says all that came before.
    """

    def __init__(
        self,
        process: Process,
        settings: Settings,
        group: str,
        topics: Sequence[str],
        take: Callable[[KafkaMessage], Awaitable[None]],
        *,
        most_records: int,
        fetch_bytes: int = _FETCH_BYTES,
        listener: ConsumerRebalanceListener | None = None,
    ) -> None:
        """`most_records`: of a batch; `fetch_bytes`: of a partition in one fetch."""
        read_any_headers()
        self._process = process
        self._servers = settings.kafka_servers
        self._seconds = settings.kafka.request_timeout_seconds
        self.broker = KafkaBroker(
            settings.kafka_servers,
            logger=None,
            # A JoinGroup is answered when all members have joined or were given up: it must outlast a session. Commits have a bound of their own.
            request_timeout_ms=3 * _SESSION_MS,
            # Topics are made by our own rules, with their partitions and compaction.
            allow_auto_create_topics=False,
            # Of the time there is to leave, half is for the batch under way. After that it is not acknowledged, and comes again.
            graceful_timeout=self._seconds / 2,
            middlewares=[partial(EveryMessage, process=process)],
        )
        self._subscriber = self.broker.subscriber(
            *topics,
            group_id=group,
            session_timeout_ms=_SESSION_MS,
            rebalance_timeout_ms=_SESSION_MS,
            batch=True,
            # FastStream sleeps this long whenever no records came; `pace` waits for them.
            batch_timeout_ms=_POLL_MS,
            fetch_max_wait_ms=50,  # and `pace` sets it anew
            max_records=most_records,
            max_partition_fetch_bytes=fetch_bytes,
            # A group that is new must see what came before it.
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            listener=listener,
            parser=_without_headers,
            decoder=_undecoded,
        )
        self._subscriber(take)

    @property
    def consumer(self) -> AIOKafkaConsumer | None:
        """The present consumer."""
        return self._subscriber.consumer

    @property
    def joined(self) -> bool:
        """Whether records are being asked for."""
        return self._subscriber.running and self.consumer is not None

    @property
    def trouble(self) -> str | None:
        """Why no records can come now; None where they can."""
        if not self.joined or self.consumer is None:
            return f"Kafka at {self._servers} has not let the {self._process.name} join its group yet"
        # Only its client knows: a consumer says nothing of a broker that is away, and goes on when it is back.
        connected = any(connection.connected() for connection in self.consumer._client._conns.values())  # noqa: SLF001
        return None if connected else f"the connection to Kafka at {self._servers} is lost"

    async def join(self) -> None:
        """Begin to consume; the topics must exist.

        Raises:
            TransientError: Kafka does not answer now.
        """
        try:
            await self.broker.start()
            pace(self.consumer)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.leave()
            msg = f"Kafka at {self._servers} does not let the {self._process.name} join: {error!r}"
            raise TransientError(msg) from error

    async def leave(self) -> None:
        """Leave the group, within a bound."""
        await ended(self.broker.stop(), self._seconds)

    async def acknowledge(self, message: KafkaMessage) -> None:
        """Tell Kafka that everything up to and with `message` is done. Where that fails, records come again, which is harmless."""
        try:
            async with asyncio.timeout(self._seconds):  # a commit can hang for ever on a broker that came back empty
                await message.ack()
            self._process.trouble = None
        except Exception as error:  # whatever it is: the next one says this too
            self._process.trouble = f"offset not committed: {error!r}"
            _log.warning("%s; the records may come again, which is harmless", self._process.trouble)


class EveryMessage(BaseMiddleware[Any, Any]):
    """Around every message of a process, from before it is parsed until its subscriber returned."""

    def __init__(self, msg: Any, /, *, context: ContextRepo, process: Process) -> None:
        super().__init__(msg, context=context)
        self._process = process
        self._began = time.perf_counter()

    async def on_receive(self) -> None:
        """Let nothing through once the process ends: FastStream drops an error and goes on with the next message."""
        if self._process.crashed:
            # Not StopConsume: with it the subscriber cancels its own task, and the consumer stays in its group half stopped.
            raise PermanentError(f"the {self._process.name} is ending; the message comes again")

    async def after_processed(
        self, exc_type: type[BaseException] | None = None, exc_val: BaseException | None = None, exc_tb: TracebackType | None = None
    ) -> bool | None:
        """Say what it was; after an error the process ends."""
        _log.debug("%s: %d record(s) in %.3f s", self._process.name, len(self.msg), time.perf_counter() - self._began)
        if isinstance(exc_val, Exception):
            self._process.crash(exc_val)
        return await super().after_processed(exc_type, exc_val, exc_tb)


def records_of(message: KafkaMessage) -> list[LogRecord]:
    """A batch as it lies in the log."""
    raw: Any = message.raw_message
    return [to_record(record) for record in raw]


async def _without_headers(records: R, parse: Callable[[R], Awaitable[KafkaMessage]]) -> KafkaMessage:
    """What a header or a content-type says must not decide whether a batch can be read.

    FastStream reads headers as UTF-8 and bodies as their content-type says: one foreign record would fail a whole batch.
    """
    batch: Any = records
    ends: Any = tuple(dataclasses.replace(record, headers=()) for record in (batch[0], batch[-1]))
    message = await parse(ends)  # a message is named by its ends; the rest would be copied for nothing
    message.raw_message = batch
    return message


async def _undecoded(_: KafkaMessage) -> tuple[()]:
    """FastStream would read every record as JSON before the subscriber reads it itself."""
    return ()
