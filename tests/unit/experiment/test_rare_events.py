"""Exact bounds: against their definition, against scipy, and over many looks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from csqa_loop.experiment.rules.rare_events import bounds_of_difference, lower_bound, upper_bound


def test_the_bound_is_where_the_truncated_mixture_reaches_one_over_alpha():
    events, users, alpha = 3, 60, 0.05
    bound = float(upper_bound(events, users, alpha))
    prior = stats.beta(0.5, 0.5)

    def ratio(q: float) -> float:
        return prior.pdf(q) * (q / bound) ** events * ((1 - q) / (1 - bound)) ** (users - events)

    mixture = integrate.quad(ratio, 0, bound, limit=200)[0] / prior.cdf(bound)
    assert mixture == pytest.approx(1 / alpha, rel=1e-6)


@settings(deadline=None)
@given(events=st.integers(0, 60), more=st.integers(0, 3000), alpha=st.floats(0.001, 0.3))
def test_it_is_never_narrower_than_one_look_planned_in_advance(events: int, more: int, alpha: float):
    users = events + more
    lower, upper = float(lower_bound(events, users, alpha)), float(upper_bound(events, users, alpha))
    assert 0.0 <= lower <= upper <= 1.0
    if users:
        planned = stats.binomtest(events, users).proportion_ci(1 - 2 * alpha, method="exact")
        assert lower <= planned.low + 1e-9
        assert upper >= planned.high - 1e-9


@settings(deadline=None)
@given(events=st.floats(0, 50), users=st.floats(51, 5000), alpha=st.floats(0.001, 0.3))
def test_the_lower_bound_is_the_mirror_of_the_upper_one(events: float, users: float, alpha: float):
    assert float(lower_bound(users - events, users, alpha)) == pytest.approx(1 - float(upper_bound(events, users, alpha)), abs=1e-9)


def test_no_event_is_not_certainty_and_says_more_than_pseudo_users_did():
    users = np.array([100.0, 1000.0, 20_000.0])
    lower, upper = bounds_of_difference((0.0, users), (0.0, users), 0.05)
    # The rule of three is 3 / n for one arm and one look; a normal limit with six pseudo users was at 7 / n.
    assert np.all((upper * users > 3.5) & (upper * users < 4.7))
    assert np.all(lower == -upper)


@pytest.mark.parametrize(("events", "users", "expected"), [(0, 0, 1.0), (7, 7, 1.0)])
def test_nothing_bounds_from_above_without_a_failure(events: int, users: int, expected: float):
    assert float(upper_bound(events, users, 0.05)) == expected


@pytest.mark.parametrize("rate", [0.004, 0.02, 0.3])
def test_the_truth_seldom_leaves_the_bounds_at_any_look(rate: float):
    rng = np.random.default_rng(17)
    users = np.arange(1, 801, dtype=float)
    events = np.cumsum(rng.random((400, 800)) < rate, axis=1, dtype=float)
    passed = (upper_bound(events, users, 0.05) < rate).any(axis=1).mean()
    assert passed <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_values_between_0_and_1_are_covered_as_events_are():
    rng = np.random.default_rng(18)
    users = np.arange(1, 801, dtype=float)
    values = np.cumsum(rng.beta(0.1, 3.0, (200, 800)), axis=1)
    passed = (upper_bound(values, users, 0.05) < 0.1 / 3.1).any(axis=1).mean()
    assert passed <= 0.05
