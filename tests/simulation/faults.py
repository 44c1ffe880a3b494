"""What people order and what fails. Each returns whether there was anything to it."""

from collections.abc import Callable
from random import Random

from csqa_loop import events as e
from csqa_loop.rollout.rules.orders import Order, OrderAction
from tests.simulation.replicas import Replica
from tests.simulation.world import World

_ORDERS: tuple[OrderAction, ...] = ("promote", "rollback", "pause", "resume", "stop")


class Faults:
    """Acts on one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance: Random = world.chance

    def named(self) -> dict[str, Callable[[], bool]]:
        """Name -> act."""
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

    def order(self) -> bool:
        """An operator asks for something, sensible or not."""
        action = self.chance.choice(_ORDERS)
        records, _ = self.world.ledger.adapter_records()
        target = ""
        if action == "promote" or (action == "rollback" and self.chance.random() < 0.6):
            target = self.chance.choice(records).adapter
        self.world.order(Order(action, "ann", f"reason {self.world.tick()}", target, override=self.chance.random() < 0.5))
        self.world.injected[f"order: {action}"] += 1
        return True

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

    def _some_replica(self) -> Replica:
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
        trained = [event.adapter for event, *_ in self.world.log.topics[e.TrainingEvent.topic] if isinstance(event, e.AdapterTrained)]
        if not trained:
            return False
        # The newest is what most steps are about.
        adapter = self.chance.choice((trained[-1], self.chance.choice(trained)))
        self.world.lost_folders.add(adapter)
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
            self.order()
        return True
