"""The loop: the log into the ledger, and decisions out of it. One active; a standby waits for the ledger's lock."""

import asyncio
import logging
import time
from datetime import datetime

from fastapi import FastAPI
from faststream.kafka import KafkaMessage

from csqa_loop import bootstrap
from csqa_loop.console.app import create_console
from csqa_loop.errors import CsqaError
from csqa_loop.http.serving import serve as serve_http
from csqa_loop.ledger.authority import LedgerRefusedError
from csqa_loop.ledger.garbage import collect_seldom
from csqa_loop.ledger.intake import Intake
from csqa_loop.ledger.position import Position
from csqa_loop.ledger.sorting import Sorter
from csqa_loop.loop import topics_read_by
from csqa_loop.rollout.beats import Beats
from csqa_loop.rollout.housekeeping import LetterPublisher, Republisher
from csqa_loop.settings import Settings
from streams.process import Process, ended
from streams.subscription import Subscription, records_of

_log = logging.getLogger(__name__)
GROUP = "csqa-loop"
_ASKS_AGAIN_SECONDS = 3.0
"""After which a loop that was refused looks whether the log is still another ledger's."""
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
            clock=parts.clock,
            topics=topics_read_by("loop"),
        )
        self._lost = asyncio.Event()
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
            Republisher(parts.ledger, parts.bus),
            LetterPublisher(parts.ledger, parts.bus),
            parts.decider,
            may_decide=self._may_decide,
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
        await self.until_answered(parts.ledger.open, "opening the ledger", on=CsqaError)
        await self.until_answered(parts.bus.ensure_topics, "creating topics")
        # Before the group: a loop that is refused must not take partitions from the one whose log it is.
        await self._claim()
        self.phase = "reading"
        await self.until_answered(self.subscription.join, "joining the consumer group")
        working, lost = asyncio.create_task(self._work()), asyncio.create_task(self._lost.wait())
        try:
            await asyncio.wait({working, lost}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
                return
        finally:
            working.cancel()
            lost.cancel()
            await asyncio.gather(working, lost, return_exceptions=True)
        await self._step_down()

    async def _work(self) -> None:
        parts = self.parts
        work = [
            self.intake.run(),
            self._beats.run(),
            # Half of a log is of no use to analysts, and copying it slows down reading the other half.
            parts.analytics.run(parts.settings.analytics.every_seconds, ready=lambda: self.position.caught_up and not self._disk_trouble),
            parts.backups.run(lambda: self.position.caught_up),
        ]
        if parts.proposer:
            work.append(parts.proposer.run(lambda: self._beats.deciding))
        await asyncio.gather(*work)

    async def _claim(self) -> None:
        """Return once this ledger is the log's own; meanwhile `trouble` says whose it is."""
        while True:
            try:
                return await self.until_answered(self.parts.authority.claim, "claiming the log")
            except LedgerRefusedError as error:
                if self.phase != "refused":
                    _log.error("refused: %s", error)
                self.phase, self.trouble = "refused", str(error)
                await self.parts.authority.ordered(_ASKS_AGAIN_SECONDS)

    async def _may_decide(self) -> bool:
        if not self.position.at_end or self.intake.trouble:
            return False
        if await self.parts.authority.is_lost():
            self._lost.set()
            return False
        return True

    async def _step_down(self) -> None:
        """Another process decides on this log now: take and publish nothing more, and say so until somebody ends this one."""
        later = self.parts.authority.lost_to
        assert later is not None
        self.phase = "fenced"
        self.trouble = (
            f"ledger {later.ledger_id} in {later.folder} on {later.host} has decided on this log since {later.occurred_at:%Y-%m-%d %H:%M:%S} UTC"
            f" (term {later.term}{f', by order of {later.taken_over_by}: {later.reason}' if later.taken_over_by else ''}); end this loop"
        )
        _log.error("fenced: %s", self.trouble)
        await self.subscription.leave()
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Leave the group, then close the ledger and release its lock."""
        await self.subscription.leave()
        await ended(self.intake.written())
        await ended(self._sorter.close())
        if self.phase == "reading":
            await ended(self.parts.analytics.beat(last=True))
        await self.parts.close()

    def health(self) -> dict[str, object]:
        """Ok while the ledger takes records and no fault of ours keeps it from deciding; a standby is ok too. `troubles` names each part's."""
        ledger = self._opening_trouble() or self.intake.trouble
        troubles = {
            "intake": ledger,
            "disk": self._disk_trouble,
            "log": self.position.trouble,
            **self._beats.troubles,
            "analytics": self.parts.analytics.trouble,
            "backup": self.parts.backups.trouble,
        }
        standby = self.phase in {"starting", "standby"}
        seen = {
            "ledger": ledger or self._disk_trouble,
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
        refused = self.phase in {"refused", "fenced"}
        return {
            "ok": seen["ledger"] is None and not self._beats.broken and not refused,
            "phase": "deciding" if self._beats.deciding and self.phase == "reading" else self.phase,
            "caught_up": self.position.caught_up,
            "trouble": ledger or self.trouble or next(filter(None, troubles.values()), None),
            "troubles": troubles,
            "dependencies": self.dependencies.seen(seen, useful={"model_server"}),
            "losses": losses,
        }

    @property
    def _disk_trouble(self) -> str | None:
        return self.parts.ledger.disk_trouble if self.phase not in {"starting", "standby", "opening"} else None

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
