"""What happens next, drawn by a seed: who moves, what fails, and how long it takes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from csqa_loop.rollout.rules.next_step import in_flight
from csqa_loop.rollout.rules.residency import resident_adapters
from tests.simulation.faults import Faults
from tests.simulation.process import MAX_ATTEMPTS, MOODS
from tests.simulation.replicas import SLOW_SECONDS
from tests.simulation.world import World

_STEPS = (30, 60)
_WARM = (0, 0, 30, 60)
"""Steps before, in which nothing fails and nobody interferes."""
_MOST_BEATS = 80
"""Without faults, until the loop is at rest."""
_ORDERED_WITHIN = 12
"""Beats without faults until no order is open."""
_TIMES = (0.1, 1.0, 5.0, 16.0, 31.0, 121.0, 301.0, 3600.0)


@dataclass(frozen=True)
class Outcome:
    """One interleaving. `violations`: what did not hold, empty where all is well."""

    seed: int
    violations: tuple[str, ...]
    history: tuple[str, ...]
    injected: Counter[str]
    reached: Counter[str]
    """Type of event -> how many the log holds."""
    steps: int
    beats_to_rest: int


class Scheduler:
    """Plays one world. Each seed has faults of its own, so that some run deep and others are torn all the while."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance: Random = world.chance
        self.steps = 0
        self._faults = Faults(world)
        chance = self.chance
        world.held_up = chance.choice((0.0, 0.03, 0.1, 0.3))
        self._lag = chance.choice((0.0, 0.0, 0.3, 0.7))
        faults = [(name, act) for name, act in self._faults.named().items() if chance.random() < 0.4]
        self._common = list(self._life().items())
        self._rare = faults
        self._fault_rate = chance.choice((0.0, 0.1, 0.25)) if faults else 0.0

    def _life(self) -> dict[str, tuple[int, Callable[[], bool]]]:
        return {
            "beat": (10, self._beat),
            "go on": (10, self._go_on),
            "train": (8, self._train),
            "pairs": (3, self._pairs),
            "customers": (4, self._customers),
            "time": (4, self._time),
            "operator": (2, self._faults.order),
        }

    # --- one interleaving --------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Steps with faults, then none until the loop is at rest."""
        world, chance = self.world, self.chance
        names = [name for name, _ in self._common]
        weights = [weight for _, (weight, _) in self._common]
        acts = {name: act for name, (_, act) in self._common}
        world.start()
        warm = chance.choice(_WARM)
        most = warm + chance.randint(*_STEPS)
        while self.steps < most and not world.violations:
            self.steps += 1
            if self.steps <= warm:
                acts[chance.choices(names[:-1], weights[:-1])[0]]()
            elif self._rare and chance.random() < self._fault_rate:
                name, act = chance.choice(self._rare)
                if act():
                    world.injected[name] += 1
            else:
                acts[chance.choices(names, weights)[0]]()
            if where := world.bury():
                world.injected[f"crash at: {where}"] += 1
            self._deliver()

    def rest(self) -> int:
        """Without faults: beats until the loop is at rest."""
        world = self.world
        world.heal()
        world.pass_time(SLOW_SECONDS)
        world.deliver_all()
        deadline = _ORDERED_WITHIN
        for beat in range(1, _MOST_BEATS + 1):
            if world.violations:
                return beat
            before = len(world.log.facts)
            world.beat()
            world.pass_time(1.0)
            world.deliver_all()
            if beat == deadline:
                world.checks.orders()
            quiet = len(world.log.facts) == before
            if quiet and self._is_at_rest():
                return beat
            if quiet and beat >= deadline:
                self._go_on_in_calm()
        world.violation(f"no rest after {_MOST_BEATS} beats without faults")
        return _MOST_BEATS

    def _is_at_rest(self) -> bool:
        world = self.world
        assert world.process
        beating = world.process.beating
        if beating and not beating.done():
            return False
        state = world.ledger.loop_state(world.now())
        if state.deployment is None or state.operators.open_order(state.deployment.order):
            return False
        wanted = resident_adapters(state.deployment, world.now())
        if wanted.isdisjoint(world.lost_folders) and any(replica.probed != wanted for replica in world.replicas.values()):
            return False
        return bool(state.operators.paused) or not in_flight(state, max_attempts=MAX_ATTEMPTS)

    def _go_on_in_calm(self) -> None:
        """What others owe the loop comes, or so much time passes that it need not wait for it."""
        request = self.world.trainer.in_hand()
        if request and self.chance.random() < 0.5:
            self.world.trainer.go_on(request)
            self.world.deliver_all()
        else:
            self.world.pass_time(400.0)

    # --- what happens ------------------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        world = self.world
        for topic in world.ledger.lags(world.log):
            if self.chance.random() >= self._lag:
                world.deliver(topic, self.chance.choice((1, 100)))
            else:
                world.injected["fact delayed"] += 1

    def _beat(self) -> bool:
        world = self.world
        if world.process is None:
            world.start()
        if not world.beat():
            self._go_on()
        return True

    def _go_on(self) -> bool:
        process = self.world.process
        if process is None or not process.life.waiting:
            return False
        name = process.life.go_on(self.chance.randrange(len(process.life.waiting)))
        self.world.note(f"goes on after: {name}")
        self.world.loop.settle()
        return True

    def _train(self) -> bool:
        request = self.world.trainer.in_hand()
        if request is None:
            return False
        self.world.trainer.go_on(request, passes=self.chance.random() < 0.85)
        return True

    def _pairs(self) -> bool:
        offered = self.world.offered
        offered.append(f"p-{len(offered) + 1}")
        offered.append(f"p-{len(offered) + 1}")
        return True

    def _customers(self) -> bool:
        opened = self.world.ledger.experiments
        if not opened:
            return False
        self.world.moods[opened[-1].experiment_id] = mood = self.chance.choice(list(MOODS))
        self.world.note(f"customers of {opened[-1].experiment_id}: {mood}")
        return True

    def _time(self) -> bool:
        self.world.pass_time(self.chance.choice(_TIMES))
        return True


def run(seed: int, *, tell: bool = False, beside: Callable[[World], None] | None = None) -> Outcome:
    """One interleaving, the same each time for the same seed. `beside`: puts what is to follow it beside its world."""
    world = World(seed, tell=tell)
    if beside:
        beside(world)
    beats = 0
    with world.loop.running():
        scheduler = Scheduler(world)
        scheduler.play()
        if not world.violations:
            beats = scheduler.rest()
        if not world.violations:
            world.checks.orders()
            world.checks.replay()
    reached = Counter(event.type for event, *_ in world.log.facts)
    return Outcome(seed, tuple(world.violations), tuple(world.history), world.injected, reached, scheduler.steps, beats)
