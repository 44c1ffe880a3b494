"""Writing to the log: every event acknowledged by all in-sync replicas within a bound, or an error that says so."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from datetime import datetime
from itertools import repeat
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed, for_code
from aiokafka.protocol.transaction import InitProducerIdRequest

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import Event
from csqa_loop.events.topics import MAX_RECORD_BYTES
from csqa_loop.log.admin import ensure_topics
from csqa_loop.log.records import Outgoing, carried, outgoing
from csqa_loop.retry import FailedTry, retried
from csqa_loop.settings import KafkaSettings

log = logging.getLogger(__name__)
_RETRY_SECONDS = 0.1
_TROUBLE_SECONDS = 5.0
_BATCH_BYTES = 256 * 1024
_LONGEST_TRANSACTION_MS = 2**31 - 1


class KafkaBus:
    """`log.bus.Bus` on Kafka: acks=all, idempotent where the broker can, compressed, every wait bounded.

    It connects by itself: a publish after a failed `start` tries again.
    """

    def __init__(self, settings: KafkaSettings, servers: str) -> None:
        self._settings = settings
        self._servers = servers
        self._bound = settings.request_timeout_seconds
        self._producer: Any = None
        self._connecting = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()
        self._ensuring = False
        self._warned_not_idempotent = False
        self._stopped = False
        self._trouble: tuple[float, str] | None = None

    @property
    def trouble(self) -> str | None:
        """Why the last publish failed, if that was a moment ago: nobody who believes it publishes, so it must not last."""
        if self._trouble is None or time.monotonic() - self._trouble[0] > _TROUBLE_SECONDS:
            return None
        return self._trouble[1]

    async def start(self) -> None:
        """Connect.

        Raises:
            TransientError: Kafka does not answer within the bound.
        """
        try:
            async with asyncio.timeout(self._bound):
                await self._connected()
        except TimeoutError as error:
            raise TransientError(f"Kafka at {self._servers} does not answer within {self._bound:g} s; is it running?") from error

    async def stop(self) -> None:
        """Deliver pending records, within the bound, and close for good."""
        self._stopped = True
        producer, self._producer = self._producer, None
        if producer is not None:
            await _close(producer, self._bound)
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def publish(self, *events: Event) -> None:
        """Return once the broker acknowledged every event.

        Raises:
            TransientError: not acknowledged within the bound; some may have been written, so publish the same events again.
            PermanentError: an event is larger than a record may be; none was written.
        """
        await self.deliver([outgoing(event) for event in events])

    async def carry(self, *facts: tuple[Event, datetime]) -> None:
        """As `publish`, of facts that a former log held, each with the moment at which that log had it."""
        await self.deliver([carried(event, moment) for event, moment in facts])

    async def send(self, topic: str, key: bytes | None, value: bytes) -> None:
        """As `publish`, of bytes as they are."""
        await self.deliver([Outgoing(topic, key, value)])

    async def deliver(self, records: Sequence[Outgoing]) -> None:
        """As `publish`, of records that were made before."""
        try:
            async with asyncio.timeout(self._bound):
                while True:
                    if await self._delivered(records):
                        self._trouble = None
                        return
                    await asyncio.sleep(_RETRY_SECONDS)
        except TimeoutError as error:
            self._trouble = (time.monotonic(), f"Kafka at {self._servers} does not acknowledge what is published")
            missing = self._unknown_topics(records)
            if missing:
                self._ensure_in_background()
                raise TransientError(f"Kafka at {self._servers} has no topic {', '.join(missing)}; creating it") from error
            raise TransientError(
                f"Kafka at {self._servers} did not acknowledge {len(records)} event(s) within {self._bound:g} s"
            ) from error

    async def ensure_topics(self) -> None:
        """Create the topics that are missing; warn by name about those that are not as expected.

        Raises:
            TransientError: the broker does not answer or does not create them.
        """
        await ensure_topics(self._servers, self._settings)

    async def _delivered(self, records: Sequence[Outgoing]) -> bool:
        """False where the producer cannot go on and a new one has to send the same records (readers drop duplicates)."""
        producer = await self._connected()
        try:
            waiting = [await producer.send(record.topic, record.value, record.key, headers=list(record.headers)) for record in records]
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        except KafkaError as error:
            outcomes = [error]
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if not errors:
            return True
        worst = next((error for error in errors if not getattr(error, "retriable", False)), errors[0])
        if not getattr(worst, "retriable", False):
            # A batch that an idempotent producer gave up leaves a hole in its sequence, and the broker refuses everything after it.
            self._discard(producer)
        if isinstance(worst, MessageSizeTooLargeError):
            topics = ", ".join(sorted({record.topic for record in records}))
            raise PermanentError(
                f"Kafka takes smaller records than {MAX_RECORD_BYTES} bytes on {topics}; raise max.message.bytes there"
            ) from worst
        log.warning("publish to Kafka at %s failed, trying again: %r", self._servers, worst)
        return False

    async def _connected(self) -> Any:
        if self._stopped:
            raise TransientError("the connection to Kafka is closed: this process is stopping")
        if self._producer is None:
            async with self._connecting:
                if self._producer is None:  # else another one that waited has connected
                    self._producer = await retried(
                        self._connect, repeat(_RETRY_SECONDS), on=(KafkaError, OSError), on_failure=self._unreachable
                    )
        return self._producer

    def _unreachable(self, failed: FailedTry) -> None:
        log.debug("Kafka at %s cannot be reached: %r", self._servers, failed.error)

    async def _connect(self) -> Any:
        idempotent = await _gives_producer_ids(self._servers, self._bound)
        if not idempotent and not self._warned_not_idempotent:
            self._warned_not_idempotent = True
            log.warning("Kafka at %s gives no producer ids: a record may be written twice after a lost acknowledgement", self._servers)
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            acks="all",
            enable_idempotence=idempotent,
            compression_type=None if self._settings.compression == "none" else self._settings.compression,
            linger_ms=self._settings.linger_ms,
            max_batch_size=_BATCH_BYTES,
            max_request_size=MAX_RECORD_BYTES,
            request_timeout_ms=int(self._bound * 1000),
        )
        try:
            await producer.start()
        except BaseException:  # also a cancelled start: aiokafka's sender and connections would live on
            await producer.stop()
            raise
        return producer

    def _discard(self, producer: Any) -> None:
        if self._producer is producer:
            self._producer = None
            self._spawn(_close(producer, self._bound))

    def _unknown_topics(self, records: Sequence[Outgoing]) -> list[str]:
        if self._producer is None:
            return []
        cluster = self._producer.client.cluster
        return sorted({record.topic for record in records if not cluster.partitions_for_topic(record.topic)})

    def _ensure_in_background(self) -> None:
        """A broker that lost its disk has no topics; the first process that notices creates them again."""

        async def ensure() -> None:
            try:
                await self.ensure_topics()
            except TransientError as error:
                log.warning("%s", error)
            finally:
                self._ensuring = False

        if not self._ensuring:
            self._ensuring = True
            self._spawn(ensure())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _gives_producer_ids(servers: str, bound: float) -> bool:
    """Whether an idempotent producer can start. Asked with one request of our own: aiokafka's producer would retry it for ever.

    Advertising the API is not enough: the embedded broker lists InitProducerId and answers it with an unknown error.
    """
    client = AIOKafkaClient(bootstrap_servers=servers, request_timeout_ms=int(bound * 1000))
    try:
        await client.bootstrap()
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=_LONGEST_TRANSACTION_MS)
        response = await client.send(client.get_random_node(), request)
    finally:
        await client.close()
    error = for_code(response.error_code)
    if response.error_code != 0 and error.retriable:
        raise error
    return bool(response.error_code == 0)


async def _close(producer: Any, bound: float) -> None:
    """Flush within the bound; what is then still undelivered fails at its waiters, and nothing waits for a broker that is gone."""
    try:
        async with asyncio.timeout(bound):
            await producer.flush()
    except TimeoutError:
        log.warning("closing the producer with events undelivered; their publishers were told")
    # `stop` flushes without a bound of its own; failed batches are flushed at once.
    producer._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001
    try:
        async with asyncio.timeout(bound):
            await producer.stop()
    except (TimeoutError, KafkaError) as error:
        log.warning("the producer did not stop in order: %r", error)
