"""Whatever crashes, lags, comes twice, is ordered or fails in between: what the checks say holds. The full run is `python -m tests.simulation`."""

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.scheduler import Outcome, run

_RUNS = 500
_UNTIL_NOTICED = 2000


def test_what_must_hold_holds_in_every_interleaving() -> None:
    violated = [outcome for outcome in map(run, range(_RUNS)) if outcome.violations]
    assert violated == [], "`python -m tests.simulation --only SEED` tells the history"


def test_interleavings_come_by_everything_that_the_decision_core_does() -> None:
    outcomes = [run(seed) for seed in range(200)]
    reached = {name for outcome in outcomes for name in outcome.reached}
    assert reached == {
        "DeploymentChanged", "TrainingRequested", "TrainingProgress", "AdapterTrained", "AdapterEvaluated", "TrainingFailed", "AdapterUnservable",
        "ExperimentOpened", "ShareRaised", "VerdictReached", "OperatorActed",
    }  # fmt: skip
    assert {name for outcome in outcomes for name in outcome.injected} >= {
        "crash at: wait for", "crash at: publish DeploymentChanged", "crash at: published DeploymentChanged", "fact delayed", "late result",
        "repeated result", "replica restarts empty", "replica refuses", "replica is slow", "order: rollback", "orders at once",
    }  # fmt: skip


def test_a_seed_gives_the_same_history_again() -> None:
    def told(seed: int) -> Outcome:
        return run(seed, tell=True)

    assert [told(seed) for seed in range(20)] == [told(seed) for seed in range(20)]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_rule_is_noticed(mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    assert any(run(seed).violations for seed in range(_UNTIL_NOTICED)), f"nothing noticed in {_UNTIL_NOTICED} interleavings"
