"""One process of the loop, from its start to its death: every await on the outside is a point where it may be held up or die."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any


class Life:
    """What dies together. `point` is where the scheduler may hold the process up."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, chance: Random, held_up: float, tick: Callable[[], int], is_on_disk: Callable[[str], bool]
    ) -> None:
        """`held_up`: how probably a point holds; `tick`: counts whatever happens in the world."""
        self.alive = True
        self.tick = tick
        self.is_on_disk = is_on_disk
        self.waiting: list[tuple[str, asyncio.Future[None]]] = []
        """Where it is held up now."""
        self.dies_in: int | None = None
        self.dies_at = ""
        """It dies at so many points from now of which the name begins so."""
        self.died_at = ""
        self._loop = loop
        self._chance = chance
        self._held_up = held_up
        self._tasks: list[asyncio.Task[Any]] = []

    async def point(self, name: str) -> None:
        """Go on at once, or when the scheduler says so, or never."""
        self.tick()
        self._check()
        if self.dies_in is not None and name.startswith(self.dies_at):
            self.dies_in -= 1
            if self.dies_in <= 0:
                self.died_at = name
                self.kill()
                self._check()
        if self._held_up and self._chance.random() < self._held_up:
            future = self._loop.create_future()
            self.waiting.append((name, future))
            await future
            self._check()

    async def sleep(self, seconds: float) -> None:
        """Time passes, as for whatever is slow."""
        await asyncio.sleep(seconds)
        self._check()

    def _check(self) -> None:
        if not self.alive:
            raise asyncio.CancelledError

    def start(self, coroutine: Any) -> asyncio.Task[Any]:
        """A task that dies with it."""
        task = self._loop.create_task(coroutine)
        self._tasks = [known for known in self._tasks if not known.done()]
        self._tasks.append(task)
        return task

    def go_on(self, place: int) -> str:
        """Release one point; its name."""
        name, future = self.waiting.pop(place)
        if not future.done():
            future.set_result(None)
        return name

    def calm(self) -> None:
        """Hold nothing up any more."""
        self._held_up = 0.0
        while self.waiting:
            self.go_on(0)

    def kill(self) -> None:
        """As SIGKILL: nothing that it does from now on reaches the world."""
        self.alive = False
        for _, future in self.waiting:
            future.cancel()
        self.waiting.clear()
        for task in self._tasks:
            task.cancel()
