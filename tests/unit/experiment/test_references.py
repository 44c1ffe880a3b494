"""Our numbers against those of other people's libraries, on random inputs.

Tolerances: 1e-9 relative where both compute the same; where a method differs, the test says by how much and to which side. confseq is C++ that its package
does not build any more; what it says of random inputs stands in tests/references, with the script that asked it.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest
from gbstats.models.statistics import RatioStatistic, SampleMeanStatistic
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from csqa_loop.experiment.offline.rules.fixed_horizon import FixedHorizon, welch_test
from csqa_loop.experiment.offline.rules.simulation import Rate
from csqa_loop.experiment.rules.rare_events import lower_bound, upper_bound
from csqa_loop.experiment.rules.statistics import CannotCompute, MetricTotals, Ratio, interval_of_difference, radius, ratio, tuning

SEEDS = st.integers(0, 10_000)
EXACT = 1e-9
CONFSEQ = json.loads(Path("tests/references/confseq_bounds.json").read_text(encoding="utf-8"))


def values(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.gamma(2.0, 300.0, rng.integers(5, 400)), rng.normal(500.0, 80.0, rng.integers(5, 400))


def totals(numbers: np.ndarray) -> MetricTotals:
    return MetricTotals.of((float(number), 1.0) for number in numbers)


@settings(deadline=None)
@given(seed=SEEDS)
def test_welch_against_scipy_and_statsmodels(seed: int):
    one, other = values(seed)
    mine = welch_test("latency", totals(one), totals(other), 0.1)
    assert isinstance(mine, FixedHorizon)
    theirs = stats.ttest_ind(one, other, equal_var=False)
    interval = theirs.confidence_interval(0.9)
    assert (mine.statistic, mine.p_value) == pytest.approx((theirs.statistic, theirs.pvalue), rel=EXACT, abs=1e-12)
    assert (mine.lower, mine.upper) == pytest.approx((interval.low, interval.high), rel=EXACT)
    compared = CompareMeans(DescrStatsW(one), DescrStatsW(other))
    assert (mine.lower, mine.upper) == pytest.approx(compared.tconfint_diff(alpha=0.1, usevar="unequal"), rel=EXACT)


@settings(deadline=None)
@given(count=st.integers(0, 500), more=st.integers(1, 500))
def test_simulated_rates_against_statsmodels(count: int, more: int):
    assert Rate(count, count + more).interval == pytest.approx(proportion_confint(count, count + more, method="beta"), abs=1e-7)


def users(seed: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """(num, den) of each arm's users."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(30, 600, 2)
    dens = [rng.integers(1, 6, size) for size in sizes]
    one, other = ((rng.gamma(2, 150, den.size).round() * den, den) for den in dens)
    return one, other


def mine_and_theirs(arm: tuple[np.ndarray, np.ndarray]) -> tuple[Ratio, RatioStatistic]:
    num, den = arm
    mine = ratio("latency", MetricTotals.of(zip(num.tolist(), den.tolist(), strict=True)), bounded=False)
    assert isinstance(mine, Ratio)
    sums = [SampleMeanStatistic(n=num.size, sum=float(part.sum()), sum_squares=float((part**2).sum())) for part in (num, den)]
    return mine, RatioStatistic(n=num.size, m_statistic=sums[0], d_statistic=sums[1], m_d_sum_of_products=float((num * den).sum()))


@settings(deadline=None)
@given(seed=SEEDS)
def test_ratios_against_gbstats(seed: int):
    for arm in users(seed):
        mine, theirs = mine_and_theirs(arm)
        assert (mine.estimate, mine.variance) == pytest.approx((theirs.mean, theirs.variance), rel=EXACT)


@settings(deadline=None)
@given(seed=SEEDS, alpha=st.floats(1e-4, 0.05), horizon=st.integers(100, 20_000))
def test_the_confidence_sequence_against_gbstats(seed: int, alpha: float, horizon: int):
    """Theirs is two-sided with log(x), ours one-sided with log(1 + x): at twice the level ours is wider, by at most 2 %."""
    (challenger, theirs), (control, others) = map(mine_and_theirs, users(seed))
    rho = tuning(alpha, horizon)
    mine = interval_of_difference(challenger, control, alpha, rho)
    config = SequentialConfig(difference_type="absolute", alpha=2 * alpha, sequential_tuning_parameter=horizon)
    test = SequentialTwoSidedTTest(others, theirs, config)
    assert rho == pytest.approx(test.rho, rel=EXACT)
    assert mine.estimate == pytest.approx(test.point_estimate, rel=EXACT, abs=1e-9)
    lower, upper = test.confidence_interval
    assert 1 <= (mine.upper - mine.lower) / (upper - lower) <= 1.02


def test_the_one_sided_radius_against_confseq():
    """Theirs inverts the mixture that ours bounds from above in closed form: ours is never narrower, and wider by at most 1.2 %."""
    for case in CONFSEQ["normal"]:
        mine = float(radius(1.0, case["users"], case["alpha"], tuning(case["alpha"], case["horizon"])))
        assert 1 <= mine / case["bound"] <= 1.012


def test_the_exact_bound_against_confseq():
    """Around 1/2 theirs is the same mixture: at the level that its evidence against 1/2 reaches, our bound is 1/2. Tolerance 1e-9."""
    reached = [case for case in CONFSEQ["beta_binomial"] if case["log_evidence"] > 0]
    assert len(reached) > 150
    for case in reached:
        level = math.exp(-case["log_evidence"])
        assert float(upper_bound(case["events"], case["users"], level)) == pytest.approx(0.5, rel=EXACT)
        assert float(lower_bound(case["users"] - case["events"], case["users"], level)) == pytest.approx(0.5, rel=EXACT)


@pytest.mark.parametrize("numbers", [[], [3.0], [3.0] * 9, [math.nan, 1.0, 2.0]])
def test_what_cannot_be_tested_is_no_p_value_of_1(numbers: list[float]):
    found = welch_test("latency", totals(np.array(numbers)), totals(np.array([1.0, 2.0, 3.0])), 0.05)
    assert isinstance(found, CannotCompute)
    assert "latency" in found.reason
    assert isinstance(welch_test("latency", totals(np.array([1.0, 2.0])), None, 0.05), CannotCompute)
