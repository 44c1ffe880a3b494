"""The loop: the log into the ledger, and decisions out of it. One active; a standby waits for the ledger's lock."""

import asyncio
import time
from datetime import datetime

from fastapi import FastAPI
from faststream.kafka import KafkaMessage

from csqa_loop import bootstrap
from csqa_loop.console.app import create_console
from csqa_loop.http.serving import serve as serve_http
from csqa_loop.ledger.garbage import collect_seldom
from csqa_loop.ledger.intake import Intake
from csqa_loop.ledger.position import Position
from csqa_loop.ledger.sorting import Sorter
from csqa_loop.loop import topics_read_by
from csqa_loop.rollout.beats import Beats
from csqa_loop.rollout.housekeeping import Housekeeper
from csqa_loop.settings import Settings
from streams.process import Process, ended
from streams.subscription import Subscription, records_of

GROUP = "csqa-loop"
_FETCH_BYTES = 1024 * 1024
"""Of each of many partitions; a record that is larger comes all the same."""


class LoopStream(Process):
    """The loop's process: lock, ledger, log, beats."""

    name = "loop"

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._open_seconds = settings.ledger.open_seconds
        self._opening_since = 0.0
        self.parts = parts = bootstrap.build_loop(settings, horizon=self._horizon)
        self.position = Position(
            parts.ledger,
            parts.bus.ensure_topics,
            settings.kafka_servers,
            settings.kafka,
            consumer=lambda: self.subscription.consumer,
            written=lambda: self.intake.written(),  # noqa: PLW0108 - each needs the other, and this one is made first
        )
        self._sorter = Sorter(parts.secrets.secret, settings.privacy.known)
        self.intake = Intake(
            parts.ledger,
            self.position,
            self._sorter,
            consumer=lambda: self.subscription.consumer,
            commit_seconds=settings.kafka.request_timeout_seconds,
        )
        self._beats = Beats(
            parts.ledger,
            parts.reconciler,
            Housekeeper(parts.ledger, parts.bus),
            parts.decider,
            up_to_date=lambda: self.position.at_end and not self.intake.trouble,
        )
        self.subscription = Subscription(
            self,
            settings,
            GROUP,
            topics_read_by("loop"),
            self.take,
            most_records=settings.kafka.batch_records,
            fetch_bytes=_FETCH_BYTES,
            listener=self.position,
        )

    async def take(self, message: KafkaMessage) -> None:
        """One batch, on its way. It is never acknowledged: its offsets are committed by name once the ledger holds them."""
        await self.intake.take(records_of(message))

    async def run(self) -> None:
        """Wait for the lock, then for the log; then everything at once."""
        parts = self.parts
        await parts.model_server.start()
        self.phase = "standby"
        await parts.ledger.wait_for_lock()
        self._opening_since = time.monotonic()
        self.phase = "opening"
        await self.until_answered(parts.ledger.open, "opening the ledger")
        await self.until_answered(parts.bus.ensure_topics, "creating topics")
        self.phase = "reading"
        await self.until_answered(self.subscription.join, "joining the consumer group")
        work = [
            self.intake.run(),
            self._beats.run(),
            # Half of a log is of no use to analysts, and copying it slows down reading the other half.
            parts.analytics.run(parts.settings.analytics.every_seconds, ready=lambda: self.position.caught_up),
        ]
        if parts.proposer:
            work.append(parts.proposer.run(lambda: self._beats.deciding))
        await asyncio.gather(*work)

    async def stop(self) -> None:
        """Leave the group, then close the ledger and release its lock."""
        await self.subscription.leave()
        await ended(self.intake.written())
        await ended(self._sorter.close())
        if self.phase == "reading":
            await ended(self.parts.analytics.beat(last=True))
        await self.parts.close()

    def health(self) -> dict[str, object]:
        """Ok while the ledger takes records; a standby is ok too."""
        trouble = self.intake.trouble or self.trouble or self._beats.trouble or self.parts.analytics.trouble
        phase = "deciding" if self._beats.deciding else self.phase
        ledger = self._opening_trouble() or self.intake.trouble
        standby = self.phase in {"starting", "standby"}
        seen = {
            "ledger": ledger,
            "kafka": None if standby or self.phase == "opening" else self.subscription.trouble,
            "model_server": None if standby or self.parts.model_server.answering else "no model server answers",
        }
        losses = [
            {
                "topic": loss.gap.topic,
                "partition": loss.gap.partition,
                "from": loss.gap.start,
                "to": loss.gap.until - 1,
                "count": loss.gap.records,
            }
            for loss in self.parts.ledger.losses
        ]
        return {
            "ok": ledger is None,
            "phase": phase,
            "caught_up": self.position.caught_up,
            "trouble": ledger or trouble,
            "dependencies": self.dependencies.seen(seen, useful={"model_server"}),
            "losses": losses,
        }

    def _opening_trouble(self) -> str | None:
        """A standby may wait for ever; whoever holds the lock has to open the ledger."""
        if self.phase != "opening" or time.monotonic() - self._opening_since < self._open_seconds:
            return None
        why = self.trouble or "it is still being read"
        return f"the ledger is not open after {self._open_seconds:g} s: {why}; mend the file's permissions or disk, restore a backup, or upgrade csqa_loop"

    def _horizon(self) -> datetime:
        return self.position.horizon()


def create_app(settings: Settings) -> FastAPI:
    """The operator API with the loop running behind it."""
    stream = LoopStream(settings)
    return create_console(stream.parts.console, stream.position, stream.health, stream.lifespan)


def serve(settings: Settings) -> None:
    """Run until TERM or INT."""
    collect_seldom()
    serve_http(create_app(settings), settings.console.host, settings.console.port)
