"""The ledger in memory answers as the real one does, so what holds of the decision core on the one holds on the other."""

import os
from pathlib import Path

from tests.simulation.scheduler import run
from tests.simulation.twin import Twin, hash_of_replay
from tests.simulation.world import World

_RUNS = int(os.environ.get("CSQA_TEST_TWINS", "6"))


def test_a_real_ledger_says_the_same_before_every_decision_and_after_a_replay(tmp_path: Path) -> None:
    compared = 0
    for seed in range(_RUNS):
        worlds: list[tuple[World, Twin]] = []
        folder = tmp_path / str(seed)
        folder.mkdir()
        outcome = run(seed, beside=lambda world, folder=folder, worlds=worlds: worlds.append((world, Twin(world, folder))))
        world, twin = worlds[0]
        try:
            assert outcome.violations == (), f"seed {seed}"
            assert twin.hash == hash_of_replay(world.log, folder), f"seed {seed}"
            compared += twin.compared
        finally:
            twin.close()
    assert compared > 5 * _RUNS
