"""Events of many conversations, published one batch after the other: what was acknowledged must be in the ledger, whatever happens meanwhile."""

import asyncio
import random
from collections.abc import Iterator
from typing import Self

from csqa_loop import events as e
from csqa_loop.errors import TransientError
from csqa_loop.log import KafkaBus
from csqa_loop.settings import Settings
from tests import events as make


class Traffic:
    """A frontend that never gives up: what the log does not acknowledge is sent again, as the same event."""

    def __init__(self, settings: Settings, rng: random.Random) -> None:
        self._settings = settings
        self._rng = rng
        self._numbers = iter(range(1, 10_000_000))
        self.accepted: list[str] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        bus = KafkaBus(self._settings.kafka, self._settings.kafka_servers)
        try:
            while True:
                events = list(self._events())
                while not await self._acknowledged(bus, events):
                    await asyncio.sleep(0.2)
                self.accepted += [str(event.event_id) for event in events]
                await asyncio.sleep(self._rng.uniform(0.0, 0.05))
        finally:
            await asyncio.shield(bus.stop())

    async def _acknowledged(self, bus: KafkaBus, events: list[e.Event]) -> bool:
        try:
            await bus.publish(*events)
        except TransientError:
            return False
        return True

    def _events(self) -> Iterator[e.Event]:
        for _ in range(self._rng.randint(1, 8)):
            number = next(self._numbers)
            yield make.exposure(number)
            yield make.answer(number)
            if self._rng.random() < 0.5:
                yield make.thumb(number, self._rng.choice(["up", "down"]))
            if self._rng.random() < 0.3:
                yield make.bad_case(number)
