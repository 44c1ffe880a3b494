"""All looks at once say what `analyse` says of each."""

import numpy as np
import pytest

from csqa_loop.events import ExperimentContract, GuardrailContract
from csqa_loop.experiment.offline.rules.looks import Looks, first_verdicts
from csqa_loop.experiment.offline.rules.populations import LIVELY, Population
from csqa_loop.experiment.rules.comparison import ArmTotals
from csqa_loop.experiment.rules.statistics import SPLIT_DOUBT, sample_ratio_evidence
from csqa_loop.experiment.rules.verdict import analyse


def contract(**changes: object) -> ExperimentContract:
    terms = ExperimentContract(
        primary="satisfaction", guardrails=(GuardrailContract(metric="handoff", margin=0.1),), alpha=0.1, window_seconds=1, burn_in_users=35,
        max_users=90, max_seconds=1e9, ramp=(1.0,), ramp_users=1,
    )  # fmt: skip
    return terms.model_copy(update=changes)


STEADY = Population(satisfaction=0.6)


def engines(terms: ExperimentContract, looks: dict[str, Looks], entered: np.ndarray, run: int, look: int) -> str:
    """What `analyse` says of one look."""
    sums = {name: sides.totals(run, look) for name, sides in looks.items()}
    exposed = int(entered[0, run, look]), int(entered[1, run, look])
    one, other = (
        ArmTotals(arm, exposed[side], {name: both[side] for name, both in sums.items()})
        for side, arm in enumerate(("challenger", "control"))
    )
    return analyse(terms, one, other, exposed, 0.0).verdict


CASES = {
    "placebo": (STEADY, 0.0, 0.0, {}),
    "better": (STEADY, 0.3, 0.0, {}),
    "worse": (LIVELY, -0.3, 0.0, {}),
    "rare handoffs": (Population(0.6, handoff=0.0), 0.3, 0.05, {}),
    "many handoffs": (LIVELY, 0.2, 0.4, {}),
    "no guardrail": (LIVELY, 0.2, 0.4, {"guardrails": ()}),
    "nearly everybody content": (Population(0.99), 0.0, 0.0, {"max_users": 60}),
}


@pytest.mark.parametrize(("population", "effect", "handoff", "changes"), CASES.values(), ids=CASES)
def test_the_first_verdict_is_the_engines(population: Population, effect: float, handoff: float, changes: dict):
    terms, rng = contract(**changes), np.random.default_rng(5)
    challenger = rng.random((5, 200)) < 0.5
    drawn = population.draw(rng, challenger, effect, handoff)
    looks = {name: Looks.after_each(*values, challenger) for name, values in drawn.items()}
    entered = np.cumsum(np.stack([challenger, ~challenger]), axis=-1, dtype=float)
    stops = first_verdicts(terms, looks, entered)
    for run, (verdict, last) in enumerate(zip(stops.verdicts, stops.looks, strict=True)):
        said = [engines(terms, looks, entered, run, look) for look in sorted({*range(0, last, 9), max(last - 1, 0), last})]
        assert said[-1] == verdict
        assert set(said[:-1]) <= {"CONTINUE"}


def test_a_lopsided_split_is_invalid():
    challenger = np.arange(400) % 4 > 0
    drawn = np.ones((1, 400))
    looks = Looks.after_each(drawn, drawn, challenger[None])
    entered = np.cumsum(np.stack([challenger, ~challenger])[:, None], axis=-1, dtype=float)
    stops = first_verdicts(contract(guardrails=(), max_users=300), {"satisfaction": looks}, entered)
    assert stops.verdicts == ("INVALID",)


def test_while_the_split_is_in_doubt_nothing_is_promoted():
    rng = np.random.default_rng(8)
    challenger = rng.random((12, 900)) < 0.58
    drawn = STEADY.draw(rng, challenger, 0.25)["satisfaction"]
    looks = {"satisfaction": Looks.after_each(*drawn, challenger)}
    entered = np.cumsum(np.stack([challenger, ~challenger]), axis=-1, dtype=float)
    terms = contract(guardrails=(), burn_in_users=150, max_users=700)
    stops, doubted = first_verdicts(terms, looks, entered), 0
    for run, last in enumerate(stops.looks):
        said = [engines(terms, looks, entered, run, look) for look in range(last + 1)]
        assert said == ["CONTINUE"] * int(last) + [stops.verdicts[run]]
        evidence = np.exp(sample_ratio_evidence(entered[0, run, : last + 1], entered[1, run, : last + 1]))
        assert stops.verdicts[run] != "PROMOTE" or evidence[-1] <= SPLIT_DOUBT
        doubted += int(((evidence > SPLIT_DOUBT) & (entered[:, run, : last + 1].min(axis=0) >= 150)).sum())
    assert doubted > 50
    assert {"PROMOTE", "INVALID"} <= set(stops.verdicts)


def test_users_without_data_count_nowhere():
    challenger = np.array([[True, True, False, False]])
    looks = Looks.after_each(np.array([[1.0, 9.0, 0.0, 1.0]]), np.array([[1.0, 0.0, 1.0, 2.0]]), challenger)
    one, other = looks.totals(0, 3)
    assert (one.users, one.num, one.den, one.num2) == (1, 1.0, 1.0, 1.0)
    assert (other.users, other.num, other.den, other.den2, other.cross) == (2, 1.0, 3.0, 5.0, 2.0)


def test_an_experiment_that_never_stops_goes_on():
    challenger = np.array([[True, False] * 5])
    drawn = STEADY.draw(np.random.default_rng(1), challenger, 0.0)["satisfaction"]
    entered = np.cumsum(np.stack([challenger, ~challenger]), axis=-1, dtype=float)
    stops = first_verdicts(contract(guardrails=()), {"satisfaction": Looks.after_each(*drawn, challenger)}, entered)
    assert (stops.verdicts, stops.looks.tolist()) == (("CONTINUE",), [9])
