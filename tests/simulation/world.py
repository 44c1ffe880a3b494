"""Everything around the decision core: what outlives a process, what others do, and what is broken."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from csqa_loop import events as e
from csqa_loop.errors import TransientError
from csqa_loop.rollout.rules.orders import Order
from csqa_loop.rollout.rules.state import LoopState
from tests.simulation.checks import Checks
from tests.simulation.clockwork import VirtualLoop
from tests.simulation.ledger import MemoryLedger
from tests.simulation.life import Life
from tests.simulation.log import Fact, Log
from tests.simulation.process import LoopProcess
from tests.simulation.replicas import Replica
from tests.simulation.trainer import Trainer

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


class ViolationError(Exception):
    """Something that must hold did not."""


class Bus:
    """The log, as one process writes to it."""

    def __init__(self, world: "World", life: Life) -> None:
        self._world = world
        self._life = life

    async def publish(self, *events: e.Event) -> None:
        world = self._world
        for event in events:
            world.checks.attempted(event)
            await self._life.point(f"publish {event.type}")
            if world.failing_writes:
                world.failing_writes -= 1
                raise TransientError("the log did not take it")
            world.append(event)
            if world.lost_acknowledgements:
                world.lost_acknowledgements -= 1
                raise TransientError("the acknowledgement was lost")
            await self._life.point(f"published {event.type}")


class World:
    """One interleaving. `history` tells it to people."""

    def __init__(self, seed: int, *, tell: bool = False) -> None:
        self.chance = Random(seed)
        self.loop = VirtualLoop()
        self.history: list[str] = []
        self.injected: Counter[str] = Counter()
        self.violations: list[str] = []
        self._tell = tell
        self._ticks = 0
        self.log = Log(self.now)
        self.ledger = MemoryLedger()
        self.replicas = {url: Replica(url) for url in ("http://one", "http://two")}
        self.offered: list[str] = []
        self.spoilt: set[str] = set()
        self.lost_folders: set[str] = set()
        self.moods: dict[str, str] = {}
        self.failing_writes = self.lost_acknowledgements = 0
        self.slow_planner = False
        self.held_up = 0.0
        """How probably each await of the loop on the outside holds it up."""
        self.decision_tick = 0
        self.decision_state: LoopState | None = None
        """What the last decision rests on, and when it was read."""
        self.watchers: list[Callable[[LoopState], None]] = []
        """Told of each state that a decision rests on."""
        self.checks = Checks(self)
        self.trainer = Trainer(self)
        self.process: LoopProcess | None = None

    # --- what everybody has ------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        return START + timedelta(seconds=self.loop.time())

    def tick(self) -> int:
        self._ticks += 1
        return self._ticks

    def new_id(self) -> UUID:
        return UUID(int=self.chance.getrandbits(128), version=4)

    def note(self, text: str) -> None:
        """A line of the history."""
        if self._tell:
            self.history.append(f"{self.loop.time():>9.1f} s  {text}")

    def violation(self, text: str) -> None:
        """Something that must hold does not."""
        self.note(f"VIOLATION: {text}")
        self.violations.append(text)

    def is_on_disk(self, adapter: str) -> bool:
        return adapter not in self.lost_folders

    def mood(self, experiment_id: str) -> str:
        return self.moods.get(experiment_id, "none")

    def bus(self, life: Life) -> Bus:
        return Bus(self, life)

    def append(self, event: e.Event) -> Fact:
        """Write to the log, whoever does."""
        self.checks.written(event)
        fact = self.log.append(event)
        if self._tell:
            self.note(f"log {event.topic}[{fact.offset}]: {_in_words(event)}")
        return fact

    # --- what the scheduler does ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """A process of the loop starts."""
        life = Life(self.loop, self.chance, self.held_up, self.tick, self.is_on_disk)
        self.process = LoopProcess(self, life)
        self.note("the loop starts")

    def bury(self) -> str:
        """Where the process died; empty where it lives or there is none."""
        if self.process is None or self.process.life.alive:
            return ""
        where, self.process = self.process.life.died_at, None
        self.note(f"the loop died at: {where}")
        return where

    def beat(self) -> bool:
        """Begin a beat; whether it could begin."""
        begun = self.process is not None and self.process.beat()
        self.loop.settle()
        return begun

    def deliver(self, topic: str, most: int) -> None:
        """The ledger takes the next records of a topic."""
        facts, taken = self.log.topics[topic], self.ledger.next[topic]
        for fact in facts[taken : taken + most]:
            self.ledger.take(fact)
            self.note(f"the ledger takes {topic}[{fact.offset}]")
        self.loop.settle()

    def deliver_all(self) -> None:
        for topic in self.ledger.lags(self.log):
            self.deliver(topic, 10_000)

    def order(self, order: Order) -> None:
        self.note(f"an operator asks: {order.action} {order.target}{' (override)' if order.override else ''}")
        if self.process is not None:
            self.process.order(order)
            self.loop.settle()

    def pass_time(self, seconds: float) -> None:
        self.note(f"{seconds:g} s pass")
        self.loop.advance(seconds)

    def heal(self) -> None:
        """All faults are over; what was lost stays lost."""
        self.note("-- all faults are over --")
        for replica in self.replicas.values():
            replica.well()
        self.failing_writes = self.lost_acknowledgements = 0
        self.slow_planner = False
        self.held_up = 0.0
        self.bury()
        if self.process is None:
            self.start()
        assert self.process
        self.process.life.dies_in = None
        self.process.life.calm()
        self.loop.settle()
        self.deliver_all()

    def decided_on(self, state: LoopState) -> None:
        """The loop has read what its next decision rests on."""
        self.decision_tick = self.tick()
        self.decision_state = state
        for watch in self.watchers:
            watch(state)


def _in_words(event: e.Event) -> str:
    skipped = {"schema_version", "type", "occurred_at", "contract", "estimates", "checks", "salt", "data_hash", "recipe_hash"}
    body = event.model_dump(mode="json", exclude=skipped, exclude_defaults=True)
    return f"{event.type} " + " ".join(f"{name}={value}" for name, value in body.items())
