"""The trainer's stream: requests out of csqa.training, one at a time, acknowledged once the child runs."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage

from csqa_loop import bootstrap
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events.topics import MAX_RECORD_BYTES, TRAINING
from csqa_loop.events.wire import decode
from csqa_loop.settings import Settings
from streams.serving import health_app
from streams.serving import serve as serve_http

_log = logging.getLogger(__name__)
GROUP = "csqa-trainer"
_RETRY_SECONDS = 2.0
_SESSION_MS = 10_000


class TrainerStream:
    """The process: log in, children out."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bus = bootstrap.build_bus(settings)
        self.trainer = bootstrap.build_trainer(settings, self._bus)
        # A JoinGroup is answered when all members have joined or were given up: it must outlast a session. Commits have a bound of their own.
        self.broker = KafkaBroker(settings.kafka_servers, logger=None, request_timeout_ms=3 * _SESSION_MS)
        subscriber = self.broker.subscriber(
            TRAINING,
            group_id=GROUP,
            session_timeout_ms=_SESSION_MS,
            rebalance_timeout_ms=_SESSION_MS,
            # A trainer that starts after the first request must see it.
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            max_partition_fetch_bytes=MAX_RECORD_BYTES,
        )
        subscriber(self.take)
        self._phase = "starting"
        self._trouble: str | None = None

    async def take(self, message: KafkaMessage) -> None:
        """At least once: acknowledged when the child runs. A request that a dead trainer had acknowledged comes back as the next attempt."""
        record = message.raw_message
        assert not isinstance(record, tuple)
        try:
            await self.trainer.take(decode(TRAINING, record.value))
        except PermanentError as error:
            _log.warning(
                "record %s[%d] at %d is passed over; the ledger keeps it: %s", record.topic, record.partition, record.offset, error
            )
        try:
            # A commit can hang for ever on a broker that came back empty.
            await asyncio.wait_for(message.ack(), self._settings.kafka.request_timeout_seconds)
            self._trouble = None
        except Exception as error:
            self._trouble = f"offset not committed: {error!r}"
            _log.warning("%s; the record may come again, which is harmless", self._trouble)

    async def run(self) -> None:
        """Start bus and subscriber, again and again until the log answers."""
        while True:
            try:
                await self._bus.start()
                break
            except TransientError as error:
                self._trouble = str(error)
                await asyncio.sleep(_RETRY_SECONDS)
        while True:
            try:
                await self.broker.start()
                break
            except Exception as error:
                self._trouble = f"csqa.training cannot be read: {error!r}"
                _log.warning(self._trouble)
                with contextlib.suppress(Exception):
                    await self.broker.stop()
                await asyncio.sleep(_RETRY_SECONDS)
        self._phase, self._trouble = "running", None

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Serve health from the first moment; kill the child at the end."""
        starting = asyncio.create_task(self.run(), name="trainer")
        try:
            yield
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.broker.stop(), self._settings.kafka.request_timeout_seconds)
            await self.trainer.close()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._bus.stop(), self._settings.kafka.request_timeout_seconds)

    def health(self) -> dict[str, object]:
        """For `GET /health`: ok once requests are being read; the run in hand, for people."""
        current = self.trainer.current
        return {
            "ok": self._phase == "running",
            "phase": self._phase,
            "trouble": self._trouble,
            "run": dataclasses.asdict(current) if current else None,
        }


def serve(settings: Settings) -> None:
    """Block until TERM or INT."""
    stream = TrainerStream(settings)
    serve_http(health_app("trainer", stream.lifespan, stream.health), settings.trainer.host, settings.trainer.port)
