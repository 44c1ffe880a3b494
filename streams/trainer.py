"""The trainer: requests out of csqa.training, one at a time, acknowledged once the child runs."""

import dataclasses
import logging

from faststream.kafka import KafkaMessage

from csqa_loop import bootstrap
from csqa_loop.errors import PermanentError
from csqa_loop.events.topics import TRAINING
from csqa_loop.events.wire import decode
from csqa_loop.http.serving import serve as serve_http
from csqa_loop.settings import Settings
from streams.process import Process, ended
from streams.subscription import Subscription, records_of

_log = logging.getLogger(__name__)
GROUP = "csqa-trainer"


class TrainerStream(Process):
    """The trainer's process: requests from the log, jobs as child processes."""

    name = "trainer"

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.bus = bootstrap.build_bus(settings)
        self.trainer = bootstrap.build_trainer(settings, self.bus)
        self.subscription = Subscription(self, settings, GROUP, [TRAINING], self.take, most_records=1)

    async def take(self, message: KafkaMessage) -> None:
        """At least once: acknowledged when the child runs. A request that a dead trainer had acknowledged comes back as the next attempt."""
        for record in records_of(message):
            try:
                await self.trainer.take(decode(TRAINING, record.value))
            except PermanentError as error:
                _log.warning(
                    "record %s[%d] at %d is passed over; the ledger keeps it: %s", record.topic, record.partition, record.offset, error
                )
        await self.subscription.acknowledge(message)

    async def run(self) -> None:
        """Read requests as soon as the log answers."""
        await self.until_answered(self.bus.ensure_topics, "creating topics")
        await self.until_answered(self.bus.start, "connecting to the log")
        await self.until_answered(self.subscription.join, "joining the consumer group")
        self.phase = "running"

    async def stop(self) -> None:
        """Take no further request, kill the child, publish no more."""
        await self.subscription.leave()
        await self.trainer.close()
        await ended(self.bus.stop())

    def health(self) -> dict[str, object]:
        """Ok once requests are being read; with the run under way, for people."""
        current = self.trainer.current
        return {
            "ok": self.phase == "running",
            "phase": self.phase,
            "trouble": self.trouble,
            "dependencies": self.dependencies.seen({"kafka": self.subscription.trouble}),
            "run": dataclasses.asdict(current) if current else None,
        }


def serve(settings: Settings) -> None:
    """Run until TERM or INT."""
    serve_http(TrainerStream(settings).app(), settings.trainer.host, settings.trainer.port)
