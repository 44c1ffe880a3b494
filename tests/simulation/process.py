"""The loop's process: the real decider, examiner and reconciler, on what one life sees of the world."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from uuid import UUID

from csqa_loop import events as e
from csqa_loop.errors import CsqaError, TransientError
from csqa_loop.experiment import examiner as examiner_module
from csqa_loop.experiment.examiner import Examiner
from csqa_loop.experiment.rules.comparison import ArmTotals
from csqa_loop.experiment.rules.experiments import Experiment
from csqa_loop.experiment.rules.statistics import MetricTotals
from csqa_loop.experiment.rules.verdict import Analysis, analyse
from csqa_loop.rollout.decider import Decider
from csqa_loop.rollout.history import adapter_records
from csqa_loop.rollout.reconciler import Reconciler
from csqa_loop.rollout.rules.orders import Order, OrderRefusedError, acted
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.rollout.state import loop_state
from csqa_loop.training.rules.attempts import Run
from csqa_loop.training.rules.trigger import run_id
from tests.simulation.ledger import MemoryLedger, horizon
from tests.simulation.life import Life
from tests.simulation.replicas import Servers

if TYPE_CHECKING:
    from tests.simulation.world import World

MAX_ATTEMPTS = 3
PROGRESS_TIMEOUT = timedelta(seconds=300)
RESIDENT_WITHIN = timedelta(seconds=120)
IN_LEDGER_SECONDS = 10.0
CONTRACT = e.ExperimentContract(
    primary="satisfaction",
    guardrails=(),
    alpha=0.05,
    window_seconds=1,
    burn_in_users=2,
    max_users=10_000,
    max_seconds=3000,
    ramp=(0.4, 1.0),
    ramp_users=5,
)
MOODS = {"none": (0, 0.5, 0.5), "equal": (40, 0.5, 0.5), "better": (80, 0.9, 0.1), "worse": (80, 0.1, 0.9)}
"""Closed users an arm, and how many of them are satisfied: with the challenger, with the champion."""


class SeenLedger:
    """The ledger, as one process asks it."""

    def __init__(self, ledger: MemoryLedger, life: Life, on_state: Callable[[LoopState], None]) -> None:
        """`on_state`: told each state that is asked for."""
        self._ledger = ledger
        self._life = life
        self._on_state = on_state

    async def ask(self, query: Callable[..., Any], *arguments: Any) -> Any:
        await self._life.point("ask")
        found = self._ledger.answer(query, *arguments)
        if query is loop_state:
            self._on_state(found)
        return found

    async def wait_for(self, event_id: UUID, seconds: float) -> bool:
        """As `LedgerService.wait_for`."""
        await self._life.point("wait for")
        try:
            async with asyncio.timeout(seconds):
                while self._ledger.pending(event_id):
                    taken = asyncio.Event()
                    wake = taken.set
                    self._ledger.waking.append(wake)
                    try:
                        await taken.wait()
                    finally:
                        self._ledger.waking.remove(wake)
        except TimeoutError:
            return False
        return True


class Planner:
    """What `RunPlanner` decides, without looking into pairs: two fresh ones are a run."""

    def __init__(self, world: "World", ledger: SeenLedger, life: Life) -> None:
        self._world = world
        self._ledger = ledger
        self._life = life

    async def claim(self, champion: str, now: datetime, last: Run | None = None) -> e.TrainingRequested | None:
        claimed = await self._ledger.ask(MemoryLedger.claimed)
        fresh = tuple(pair for pair in self._world.offered if pair not in claimed and pair not in self._world.spoilt)
        if self._world.slow_planner:
            await self._life.sleep(3.0)
        await self._life.point("plan")
        data = "-".join(fresh)
        failed = last.request if last and last.failed else None
        if len(fresh) < 2 or (failed and failed.data_hash == data):
            return None
        run = run_id(champion, data, after=failed.run_id if failed else "")
        return e.TrainingRequested(
            event_id=e.derived_id(run, "TrainingRequested", 1),
            occurred_at=now,
            run_id=run,
            attempt=1,
            reason="enough",
            champion=champion,
            pair_ids=fresh,
            data_hash=data,
        )

    async def retry(self, request: e.TrainingRequested, now: datetime) -> e.TrainingRequested | e.TrainingFailed:
        await self._life.point("retry")
        if spoilt := [pair for pair in request.pair_ids if pair in self._world.spoilt]:
            return e.TrainingFailed(
                event_id=e.derived_id(request.run_id, "TrainingFailed", f"{request.attempt} spoilt"),
                occurred_at=now,
                run_id=request.run_id,
                attempt=request.attempt,
                stage="starting",
                reason=f"{spoilt[0]} may not be trained on any more",
                final=True,
            )
        attempt = request.attempt + 1
        event_id = e.derived_id(request.run_id, "TrainingRequested", attempt)
        return request.model_copy(update={"attempt": attempt, "event_id": event_id, "occurred_at": now})


@cache
def _arm(arm: Any, users: int, rate: float) -> ArmTotals:
    satisfied = round(rate * users)
    return ArmTotals(arm, users, {"satisfaction": MetricTotals.of([(float(user < satisfied), 1.0) for user in range(users)])})


@cache
def _analysis(mood: str, *, over: bool, share_is_final: bool) -> Analysis:
    users, *rates = MOODS[mood]
    arms = _arm("challenger", users, rates[0]), _arm("control", users, rates[1])
    elapsed = CONTRACT.max_seconds if over else 0.0
    return analyse(CONTRACT, *arms, (users, users), elapsed, share_is_final=share_is_final)


def _analysed(contract: Any, challenger: ArmTotals, control: ArmTotals, exposed: Any, elapsed: float, *, share_is_final: bool) -> Analysis:
    """As `analyse`, once for all that are alike: there are few moods, and computing a bound takes a millisecond."""
    users = challenger.users
    mood = next(name for name, (n, rate, _) in MOODS.items() if n == users and _arm("challenger", n, rate) is challenger)
    return _analysis(mood, over=elapsed >= contract.max_seconds, share_is_final=share_is_final)


def quick_analysis() -> Any:
    """Within it examiners look at what `MOODS` says."""
    return patch.multiple(examiner_module, ClosedUsers=lambda: None, analyse=_analysed)


class Audience:
    """What customers have said of each experiment, in place of `ClosedUsers`."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def totals(self, ledger: MemoryLedger, experiment: Experiment, *_: object) -> tuple[ArmTotals, ArmTotals]:
        users, *rates = MOODS[self._world.mood(experiment.opened.experiment_id)]
        return _arm("challenger", users, rates[0]), _arm("control", users, rates[1])

    def exposed(self, ledger: MemoryLedger, experiment_id: str) -> tuple[int, int]:
        users, *_ = MOODS[self._world.mood(experiment_id)]
        return users, users


class Disk:
    """Adapter folders, in place of `AdapterFolders`."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def fault(self, name: str) -> str:
        return "" if self._world.is_on_disk(name) else f"adapter {name} is gone"


class LoopProcess:
    """One start of the loop. It decides once the ledger holds what the log held when it started."""

    def __init__(self, world: "World", life: Life) -> None:
        self._world = world
        self.life = life
        self._ledger = SeenLedger(world.ledger, life, lambda _: None)
        decided_on = SeenLedger(world.ledger, life, world.decided_on)
        self._ends = {topic: len(facts) for topic, facts in world.log.topics.items()}
        self._ordering = asyncio.Lock()
        self._horizon = datetime.min.replace(tzinfo=world.now().tzinfo)
        self.reconciler = Reconciler(Servers(world.replicas, life), Disk(world).fault)  # type: ignore[arg-type]
        examiner = Examiner(self._ledger, 0, 0)  # type: ignore[arg-type]
        examiner._closed_users = Audience(world)  # type: ignore[assignment]
        self.decider = Decider(
            decided_on, world.bus(life), Planner(world, self._ledger, life), examiner, self.reconciler, Disk(world),
            resident_within=RESIDENT_WITHIN, contract=CONTRACT, progress_timeout=PROGRESS_TIMEOUT, max_attempts=MAX_ATTEMPTS,
            clock=world.now, horizon=self.horizon,
        )  # type: ignore[arg-type]  # fmt: skip
        self.beating: asyncio.Task[None] | None = None
        self.beats = 0

    def horizon(self) -> datetime:
        self._horizon = max(self._horizon, horizon(self._world.ledger, self._world.log, self._world.now()))
        return self._horizon

    @property
    def at_end(self) -> bool:
        """As `Position.at_end`."""
        return all(self._world.ledger.next[topic] >= end for topic, end in self._ends.items())

    def beat(self) -> bool:
        """Begin a beat where one may begin; whether it did."""
        if not self.life.alive or not self.at_end or (self.beating and not self.beating.done()):
            return False
        self.beats += 1
        self.beating = self.life.start(self._beat())
        return True

    async def _beat(self) -> None:
        try:
            await self.decider.beat()
        except CsqaError as error:
            self._world.note(f"beat: {error}")
        except Exception as error:  # any other error of a beat is a finding
            self._world.violation(f"a beat raised {type(error).__name__}: {error}")

    def order(self, order: Order) -> None:
        """An operator asks the console, which is part of this process."""
        if self.life.alive:
            self.life.start(self._order(order))

    async def _order(self, order: Order) -> None:
        """As `csqa_loop.console.operators`: the second of two orders is judged by the state that the first has left."""
        world = self._world
        if not self.at_end:
            world.note(f"{order.action} refused: the ledger is still reading the log")
            return
        async with self._ordering:
            state = await self._ledger.ask(loop_state, world.now())
            records, champions = await self._ledger.ask(adapter_records)
            try:
                event = acted(order, state, records, champions, event_id=world.new_id(), now=world.now())
                if event.target not in {"", e.BASE} and not world.is_on_disk(event.target):
                    raise OrderRefusedError(f"{event.target} is gone")
                await world.bus(self.life).publish(event)
            except OrderRefusedError as error:
                world.note(f"{order.action} {order.target} refused: {error}")
                return
            except TransientError as error:
                world.note(f"{order.action} {order.target}: {error}")
                return
            await self._ledger.wait_for(event.event_id, IN_LEDGER_SECONDS)
