"""What happens next, drawn by a seed: who moves, what fails, and how long it takes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from csqa_loop import events as e
from csqa_loop.rollout.rules.next_step import in_flight
from csqa_loop.rollout.rules.orders import Order, OrderAction
from csqa_loop.rollout.rules.residency import resident_adapters
from tests.simulation.log import TOPICS
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
_ORDERS: tuple[OrderAction, ...] = ("promote", "rollback", "pause", "resume", "stop")


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
        chance = self.chance
        world.held_up = chance.choice((0.0, 0.03, 0.1, 0.3))
        self._lag = chance.choice((0.0, 0.0, 0.3, 0.7))
        faults = [(name, act) for name, act in self._faults().items() if chance.random() < 0.4]
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
            "operator": (2, self._operator),
        }

    def _faults(self) -> dict[str, Callable[[], bool]]:
        return {
            "crash": self._crash,
            "write fails": self._write_fails,
            "acknowledgement lost": self._acknowledgement_lost,
            "attempt fails": self._attempt_fails,
            "late result": self._late_result,
            "repeated result": self.world.trainer.repeat,
            "replica restarts empty": self._restarts,
            "replica goes away": self._goes_away,
            "replica comes back": self._comes_back,
            "replica refuses": self._refuses,
            "replica is mute": self._is_mute,
            "replica is slow": self._is_slow,
            "replica is well again": self._is_well,
            "folder is lost": self._folder_lost,
            "folder is back": self._folder_back,
            "pairs are spoilt": self._spoilt,
            "planner is slow": self._slow_planner,
            "orders at once": self._orders_at_once,
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

    def _operator(self) -> bool:
        action = self.chance.choice(_ORDERS)
        records, _ = self.world.ledger.adapter_records()
        target = ""
        if action == "promote" or (action == "rollback" and self.chance.random() < 0.6):
            target = self.chance.choice(records).adapter
        self.world.order(Order(action, "ann", f"reason {self.steps}", target, override=self.chance.random() < 0.5))
        self.world.injected[f"order: {action}"] += 1
        return True

    # --- what fails ----------------------------------------------------------------------------------------------------

    def _crash(self) -> bool:
        """At one of the next points, whichever that is."""
        if self.world.process is None:
            return False
        life, chance = self.world.process.life, self.chance
        # Most points are questions; the moments around a write are those that matter.
        life.dies_at = chance.choice(("", "publish", "published", "wait for"))
        life.dies_in = chance.choice((1, 2, 3, 4, 6, 9, 14)) if not life.dies_at else chance.randint(1, 3)
        return True

    def _write_fails(self) -> bool:
        self.world.failing_writes = self.chance.randint(1, 3)
        return True

    def _acknowledgement_lost(self) -> bool:
        self.world.lost_acknowledgements = 1
        return True

    def _attempt_fails(self) -> bool:
        request = self.world.trainer.in_hand()
        if request is None:
            return False
        self.world.trainer.fail(request, final=self.chance.random() < 0.3)
        return True

    def _late_result(self) -> bool:
        old = [request for request in self.world.trainer.requests()[:-1] if not self.world.trainer.is_over(request)]
        if not old:
            return False
        request = self.chance.choice(old)
        if self.chance.random() < 0.2:
            self.world.trainer.fail(request, final=self.chance.random() < 0.3)
        else:
            for _ in range(self.chance.randint(1, 4)):
                self.world.trainer.go_on(request)
        return True

    def _some_replica(self):
        return self.chance.choice(list(self.world.replicas.values()))

    def _restarts(self) -> bool:
        replica = self._some_replica()
        replica.restart()
        self.world.note(f"{replica.url} restarts empty")
        return True

    def _goes_away(self) -> bool:
        replica = self._some_replica()
        replica.go_away()
        self.world.note(f"{replica.url} goes away")
        return True

    def _comes_back(self) -> bool:
        replica = self._some_replica()
        if replica.up:
            return False
        replica.restart()
        replica.known_down = False
        self.world.note(f"{replica.url} comes back")
        return True

    def _refuses(self) -> bool:
        replica = self._some_replica()
        replica.refuses = True
        self.world.note(f"{replica.url} refuses adapters")
        return True

    def _is_mute(self) -> bool:
        replica = self._some_replica()
        replica.mute = True
        self.world.note(f"{replica.url} is mute")
        return True

    def _is_slow(self) -> bool:
        replica = self._some_replica()
        replica.slow = True
        self.world.note(f"{replica.url} is slow")
        return True

    def _is_well(self) -> bool:
        replica = self._some_replica()
        replica.well()
        self.world.note(f"{replica.url} is well")
        return True

    def _folder_lost(self) -> bool:
        trained = [event.adapter for event, *_ in self.world.log.topics[TOPICS[0]] if isinstance(event, e.AdapterTrained)]
        if not trained:
            return False
        self.world.lost_folders.add(adapter := self.chance.choice(trained))
        self.world.note(f"the folder of {adapter} is lost")
        return True

    def _folder_back(self) -> bool:
        if not self.world.lost_folders:
            return False
        self.world.lost_folders.clear()
        return True

    def _spoilt(self) -> bool:
        if not self.world.offered:
            return False
        self.world.spoilt.add(self.chance.choice(self.world.offered))
        return True

    def _slow_planner(self) -> bool:
        self.world.slow_planner = not self.world.slow_planner
        return True

    def _orders_at_once(self) -> bool:
        for _ in range(2):
            self._operator()
        return True


def run(seed: int, *, tell: bool = False) -> Outcome:
    """One interleaving, the same each time for the same seed."""
    world = World(seed, tell=tell)
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
