"""A real ledger on DuckDB beside the one in memory: it takes the same records, and must say the same."""

from pathlib import Path

from csqa_loop.ledger.invariants import ledger_hash
from csqa_loop.ledger.recorder import sort_out
from csqa_loop.rollout.history import adapter_records
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.rollout.state import loop_state
from csqa_loop.training.runs import run_states
from tests.ledgers import ledger_at
from tests.simulation.log import TOPICS, Fact, Log
from tests.simulation.world import World


class Twin:
    """Beside one world, in a folder of its own."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._ledger = ledger_at(folder / "ledger.duckdb")
        self._ledger.open()
        self.compared = 0
        world.ledger.followers.append(self._take)
        world.watchers.append(self._compare)

    def close(self) -> None:
        self._ledger.close()

    @property
    def hash(self) -> str:
        """What `csqa ledger hash` says."""
        return ledger_hash(self._ledger.connection)

    def _take(self, fact: Fact) -> None:
        self._ledger.take(sort_out([fact.record], lambda event: event))

    def _compare(self, state: LoopState) -> None:
        real = loop_state(self._ledger.connection, state.as_of)
        world, memory = self._world, self._world.ledger
        self.compared += 1
        if real != state:
            world.violation(f"the real ledger says {real}; the one in memory {state}")
        if adapter_records(self._ledger.connection) != memory.adapter_records():
            world.violation("the real ledger tells another history of adapters")
        if dict(run_states(self._ledger.connection)) != memory.run_states():
            world.violation("the real ledger tells other states of runs")


def hash_of_replay(log: Log, folder: Path) -> str:
    """Of a real ledger that reads the log a topic after the other, whole."""
    ledger = ledger_at(folder / "replay" / "ledger.duckdb")
    ledger.open()
    try:
        for topic in reversed(TOPICS):
            if records := [fact.record for fact in log.topics[topic]]:
                ledger.take(sort_out(records, lambda event: event))
        return ledger_hash(ledger.connection)
    finally:
        ledger.close()
