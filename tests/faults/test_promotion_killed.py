"""The loop dies between any two steps, of which every write to the log and every order to a model server is one; then another goes on."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import count
from uuid import UUID

import pytest

from csqa_loop import events as e
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.rollout.decider import Decider
from csqa_loop.rollout.rules.next_step import in_flight
from csqa_loop.rollout.rules.residency import resident_adapters
from csqa_loop.rollout.state import loop_state
from tests.boards import ADAPTER, CONTRACT, Board, build, pair
from tests.fakes.bus import MemoryBus
from tests.fakes.model_server import FakeModelServer
from tests.faults.conftest import FULL, Report

pytestmark = pytest.mark.fault(16, "the loop is killed between any two steps of a promotion, one of three replicas in trouble")

LONG = CONTRACT.model_copy(update={"ramp": (0.4, 1.0), "max_users": 10_000})
ONE, TWO, THREE = "http://one", "http://two", "http://three"
TROUBLES = ("none", "lags", "refuses", "restarts")
"""Of the third replica: its first answer to an order is late, or a refusal; or it is empty after the loop's death."""
DRAINED = timedelta(minutes=3)
_MOST_BEATS = 12
_MOST_CRASHES = 2
"""Of a life in the short form."""


class CrashError(BaseException):
    """As SIGKILL: nothing may catch it, and nothing is cleaned up."""


class Fuse:
    """Burns through at step `at`, before or after what the step does. 0: never. The loop does nothing any more until `dead` is false again."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.at, self.after, self.steps, self.dead = at, after, 0, False

    async def guard(self, act: Callable[[], Awaitable[None]]) -> None:
        self.steps += not self.dead
        here = self.steps == self.at and not self.dead
        if self.dead or (here and not self.after):
            self.dead = True
            raise CrashError
        await act()
        if here:
            self.dead = True
            raise CrashError


class MortalBus(MemoryBus):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.fuse = fuse

    async def publish(self, *events: e.Event) -> None:
        await self.fuse.guard(lambda: MemoryBus.publish(self, *events))


class MortalServer(FakeModelServer):
    """It outlives the loop that dies while giving it an order."""

    fuse: Fuse
    trouble: str
    tried: set[tuple[str, str]]

    async def load(self, replica: str, adapter: str) -> None:
        if replica == THREE and self.trouble in {"lags", "refuses"} and (replica, adapter) not in self.tried:
            self.tried.add((replica, adapter))
            raise (TransientError if self.trouble == "lags" else PermanentError)(f"{replica} takes no {adapter} now")
        await self.fuse.guard(lambda: FakeModelServer.load(self, replica, adapter))

    async def unload(self, replica: str, adapter: str) -> None:
        await self.fuse.guard(lambda: FakeModelServer.unload(self, replica, adapter))


class World:
    """What is left when a loop dies: the log, the ledger, the model servers. `happen` puts facts of others into the log."""

    def __init__(self, at: int, *, after: bool, trouble: str) -> None:
        self.fuse = Fuse(at, after=after)
        self.bus = MortalBus(self.fuse)
        self.board = Board(self.bus)
        self.server = MortalServer(replicas=(ONE, TWO, THREE))
        self.server.fuse, self.server.trouble, self.server.tried = self.fuse, trouble, set()
        self.crashed = False
        self._ids = (UUID(int=number) for number in count(1))
        self.decider = self._start()

    def _start(self) -> Decider:
        self.decider, _, _, self.reconciler = build(self.server, contract=LONG, board=self.board)
        return self.decider

    async def rest(self) -> None:
        """Beat until nothing is left to do for the loop; die once on the way."""
        known = -1
        for _ in range(_MOST_BEATS):
            if known == (known := len(self.bus.records)) and self._aligned():
                return
            try:
                await self.decider.beat()
                await self.reconciler.settle(60)  # however busy this machine is
            except CrashError:
                assert not self.crashed
                self.crashed, known = True, -1
                await self.reconciler.close()
                self.fuse.dead = False
                if self.server.trouble == "restarts":
                    self.server.held[THREE] = {e.BASE}
                # The next one reads the log to its end before it decides anything.
                self._start()
                await self.board.wait_for(UUID(int=0), 0)
        pytest.fail(f"no rest after {_MOST_BEATS} beats: {[event.type for event in self.bus.events]}")

    def _aligned(self) -> bool:
        deployments = self.bus.of_type(e.DeploymentChanged)
        wanted = resident_adapters(deployments[-1], self.board.now) if deployments else frozenset()
        return all(held - {e.BASE} == wanted for held in self.server.held.values())

    async def happen(self, kind: type[e.Event], **fields: object) -> None:
        event = kind(event_id=next(self._ids), occurred_at=self.board.now, **fields)
        await MemoryBus.publish(self.bus, event)
        await self.board.wait_for(event.event_id, 0)

    async def act(self, action: str, target: str = "") -> None:
        self.board.now += timedelta(seconds=1)
        opened, verdicts = self.bus.of_type(e.ExperimentOpened), self.bus.of_type(e.VerdictReached)
        name = opened[-1].experiment_id if opened and not verdicts else "none"
        await self.happen(e.OperatorActed, experiment_id=name, action=action, operator="ann", reason="it is rude", target=target)

    async def gate(self, *, passed: bool = True, lost: bool = False) -> None:
        """Two pairs, a run, its adapter and the gate's word."""
        await self.rest()
        await self.board.offer(pair(1), pair(2))
        await self.rest()
        request = self.board.last(e.TrainingRequested)
        of_run = {"run_id": request.run_id, "attempt": 1, "adapter": ADAPTER}
        await self.happen(e.AdapterTrained, parent="base", recipe_hash="", data_hash="", pairs=2, seconds=1, **of_run)
        await self.rest()
        if lost:
            self.board.lose(ADAPTER)
        await self.happen(e.AdapterEvaluated, champion="base", passed=passed, **of_run)
        await self.rest()

    async def drain(self) -> None:
        self.board.now += DRAINED
        await self.rest()


async def promoted(world: World) -> None:
    await world.gate()
    await world.board.visit(5)
    await world.rest()
    await world.board.visit(40, (0.8, 0.1))
    await world.rest()


async def harmful(world: World) -> None:
    await world.gate()
    await world.board.visit(40, (0.1, 0.8))
    await world.rest()


async def refused_by_the_gate(world: World) -> None:
    await world.gate(passed=False)


async def lost_after_the_gate(world: World) -> None:
    await world.gate(lost=True)


async def stopped(world: World) -> None:
    await world.gate()
    await world.board.visit(5)
    await world.rest()
    await world.act("stop")
    await world.rest()


async def promoted_by_hand(world: World) -> None:
    await world.gate()
    await world.act("promote", ADAPTER)
    await world.rest()


async def rolled_back_by_hand(world: World) -> None:
    await promoted(world)
    await world.drain()
    await world.act("rollback", "base")
    await world.rest()


async def rolled_back_to_what_is_not_held(world: World) -> None:
    await promoted_by_hand(world)
    await world.act("rollback", "base")
    await world.rest()
    await world.drain()
    await world.act("rollback", ADAPTER)
    await world.rest()


async def passed_by_the_gate(world: World) -> None:
    await world.gate()


async def unborn(world: World) -> None:
    del world


LIVES = {
    "promoted": (promoted, ADAPTER, unborn),
    "harmful": (harmful, "base", passed_by_the_gate),
    "refused by the gate": (refused_by_the_gate, "base", unborn),
    "lost after the gate": (lost_after_the_gate, "base", unborn),
    "stopped": (stopped, "base", passed_by_the_gate),
    "promoted by hand": (promoted_by_hand, ADAPTER, passed_by_the_gate),
    "rolled back by hand": (rolled_back_by_hand, "base", promoted),
    "rolled back to what is not held": (rolled_back_to_what_is_not_held, ADAPTER, promoted_by_hand),
}
"""A life, its last champion, and how it begins where another life dies at those steps already."""


async def lived(life: Callable[[World], Awaitable[None]], at: int, *, after: bool, trouble: str) -> World:
    world = World(at, after=after, trouble=trouble)
    await life(world)
    await world.drain()
    return world


async def steps(life: Callable[[World], Awaitable[None]], trouble: str) -> int:
    world = World(0, after=False, trouble=trouble)
    await life(world)
    await world.board.close()
    return world.fuse.steps


@pytest.mark.timeout(600)
@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", LIVES)
async def test_a_crash_between_any_two_steps_changes_nothing_of_what_comes_of_it(name: str, trouble: str, report: Report) -> None:
    life, champion, beginning = LIVES[name]
    whole = await lived(life, 0, after=False, trouble=trouble)
    begun = await steps(beginning, trouble)
    expected = [event.event_id for event in whole.bus.events]
    assert whole.fuse.steps > max(begun, len(whole.bus.of_type(e.DeploymentChanged)))
    await whole.board.close()
    crashes = [(at, after) for at in range(begun + 1, whole.fuse.steps + 1) for after in (False, True)]
    if not FULL:
        crashes = report.random.sample(crashes, min(len(crashes), _MOST_CRASHES))
    for at, after in crashes:
        world = await lived(life, at, after=after, trouble=trouble)
        where = f"a crash {'after' if after else 'before'} step {at}"
        assert world.crashed, where
        assert [event.event_id for event in world.bus.events] == expected, where
        deployment = world.board.last(e.DeploymentChanged)
        assert (deployment.champion, deployment.challenger, deployment.candidate) == (champion, None, None), where
        state = await world.board.ask(loop_state, world.board.now)
        assert not in_flight(state, max_attempts=2), where
        assert world.server.held == {url: {e.BASE, champion} for url in (ONE, TWO, THREE)}, where
        assert world.reconciler.disagreements(deployment, world.board.now) == [], where
        await world.board.close()
        report.runs += 1
