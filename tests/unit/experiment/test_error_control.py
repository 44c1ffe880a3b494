"""Levels that follow from earlier verdicts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from online_fdr.p_values.investing.lord.plus_plus import LordPlusPlus
from scipy.special import zeta

from csqa_loop.experiment.rules import error_control
from csqa_loop.experiment.rules.error_control import FIRST_WEALTH, PastExperiment, error_budget, next_alpha, weight

HISTORY = st.lists(st.booleans(), max_size=60)


def test_weights_fall_and_sum_to_one():
    weights = [weight(test) for test in range(1, 20_001)]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) + zeta(1.6, 20_001) / zeta(1.6) == pytest.approx(1.0)
    assert weight(0) == 0.0


@given(history=HISTORY, target=st.floats(0.01, 0.3))
def test_it_is_lord_plus_plus(history: list[bool], target: float):
    reference = LordPlusPlus(alpha=target, wealth=FIRST_WEALTH * target)
    reference.seq.calc_gamma = weight
    for number, promoted in enumerate(history):
        reference.test_one(0.0 if promoted else 1.0)
        assert reference.alpha == pytest.approx(next_alpha(history[:number], target))


@given(history=HISTORY, target=st.floats(0.01, 0.3))
def test_the_estimated_share_of_false_promotions_never_passes_the_target(history: list[bool], target: float):
    spent = sum(next_alpha(history[:number], target) for number in range(len(history)))
    assert spent <= target * max(1, sum(history)) + 1e-12


@given(history=HISTORY)
def test_a_promotion_pays_for_the_next_test(history: list[bool]):
    assert next_alpha([*history, True], 0.05) > next_alpha([*history, False], 0.05)


def test_among_placebos_and_good_adapters_few_promotions_are_false():
    rng = np.random.default_rng(23)
    shares = []
    for _ in range(400):
        history: list[bool] = []
        false = 0
        for _ in range(40):
            is_placebo, alpha = rng.random() < 0.7, next_alpha(history, 0.1)
            promoted = rng.random() < (alpha if is_placebo else 0.8)
            false += is_placebo and promoted
            history.append(bool(promoted))
        shares.append(false / max(1, sum(history)))
    assert np.mean(shares) <= 0.1


def test_the_budget_tells_what_is_to_be_expected():
    assert error_budget([]).share_at_most == 0.0
    budget = error_budget([PastExperiment(0.05, promoted=True), PastExperiment(0.05, promoted=False), PastExperiment(0.05, promoted=True)])
    assert (budget.experiments, budget.promotions) == (3, 2)
    assert budget.expected_false == pytest.approx(0.15)
    assert budget.share_at_most == pytest.approx(0.075)
    assert error_budget([PastExperiment(0.9, promoted=False), PastExperiment(0.9, promoted=True)]).share_at_most == 1.0


def test_the_first_wealth_is_less_than_the_target():
    assert 0 < error_control.FIRST_WEALTH < 1
