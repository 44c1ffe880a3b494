"""Replicas that restart empty, refuse, are mute, lag and go away, and what one process sees of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from csqa_loop.answering.model.server import Generation
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import BASE, ChatMessage, Sampling
from tests.simulation.life import Life


@dataclass
class Replica:
    """One model server, as it is. `probed`: adapters that answered a probe since they were loaded."""

    url: str
    up: bool = True
    known_down: bool = False
    refuses: bool = False
    mute: bool = False
    slow: bool = False
    held: set[str] = field(default_factory=set)
    probed: set[str] = field(default_factory=set)
    seen_at: int | None = 0
    """The tick at which somebody was first told what has become of it since it last started or went away; None: nobody was."""

    def restart(self) -> None:
        """Everything is forgotten."""
        self.held.clear()
        self.probed.clear()
        self.up, self.seen_at = True, None

    def go_away(self) -> None:
        """It does not answer any more."""
        self.restart()
        self.up = False

    def well(self) -> None:
        """All faults are over."""
        if not self.up:
            self.restart()
        self.known_down = self.refuses = self.mute = self.slow = False

    def hides_a_loss(self, since: int) -> bool:
        """Whether nobody could know at tick `since` that it had started anew or gone."""
        return self.seen_at is None or self.seen_at >= since


SLOW_SECONDS = 20.0


class Servers:
    """The model server as one process of the loop sees it."""

    def __init__(self, replicas: dict[str, Replica], life: Life) -> None:
        self._replicas = replicas
        self._life = life

    @property
    def live(self) -> Sequence[str]:
        return [url for url, replica in self._replicas.items() if not replica.known_down]

    async def serves(self, replica: str) -> frozenset[str] | None:
        target = self._replicas[replica]
        await self._asked(target, "serves")
        if not target.up:
            target.known_down = True
            if target.seen_at is None:
                target.seen_at = self._life.tick()
            return None
        names, since = frozenset({BASE, *target.held}), target.seen_at
        await self._life.point("serves")
        if since is None and target.seen_at is None and target.up:
            target.seen_at = self._life.tick()
        return names

    async def load(self, replica: str, adapter: str) -> None:
        target = self._replicas[replica]
        await self._asked(target, "load")
        self._reached(target)
        if target.refuses or not self._life.is_on_disk(adapter):
            raise PermanentError(f"{replica} refuses {adapter}")
        target.held.add(adapter)
        await self._life.point("load")

    async def unload(self, replica: str, adapter: str) -> None:
        target = self._replicas[replica]
        await self._asked(target, "unload")
        self._reached(target)
        target.held.discard(adapter)
        target.probed.discard(adapter)
        await self._life.point("unload")

    async def probe(self, replica: str, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling) -> Generation:
        target = self._replicas[replica]
        await self._asked(target, "probe")
        self._reached(target)
        if adapter not in target.held:
            raise PermanentError(f"{replica} does not hold {adapter}")
        text = "" if target.mute else "yes"
        if text:
            target.probed.add(adapter)
        await self._life.point("probe")
        return Generation(text, adapter, 1, 1, "stop", (-0.1,))

    async def _asked(self, target: Replica, what: str) -> None:
        await self._life.point(what)
        if target.slow:
            await self._life.sleep(SLOW_SECONDS)

    @staticmethod
    def _reached(target: Replica) -> None:
        if not target.up:
            raise TransientError(f"{target.url} does not answer")
