"""Tests for one look that was planned in advance: for analysts who ask for the usual p-value. No verdict ever rests on them."""

import math
from dataclasses import dataclass

from csqa_loop.experiment.rules.statistics import CannotCompute, MetricTotals, ratio

CAUTION = "fixed horizon: valid only for one look planned in advance"


@dataclass(frozen=True)
class FixedHorizon:
    """Challenger minus control, two-sided."""

    test: str
    statistic: float
    p_value: float
    estimate: float
    lower: float
    upper: float
    confidence: float
    caution: str = CAUTION


def welch_test(metric: str, challenger: MetricTotals | None, control: MetricTotals | None, alpha: float) -> FixedHorizon | CannotCompute:
    """Welch's t on the difference of ratios, with delta-method variances; with den = 1 it is the usual t-test. Interval at 1 - alpha."""
    from scipy.stats import t

    one, other = ratio(metric, challenger, bounded=False), ratio(metric, control, bounded=False)
    if isinstance(one, CannotCompute):
        return one
    if isinstance(other, CannotCompute):
        return other
    squares = one.variance / one.users, other.variance / other.users
    error, estimate = math.sqrt(sum(squares)), one.estimate - other.estimate
    freedom = sum(squares) ** 2 / (squares[0] ** 2 / (one.users - 1) + squares[1] ** 2 / (other.users - 1))
    half = float(t.ppf(1 - alpha / 2, freedom)) * error
    p_value = 2 * float(t.sf(abs(estimate / error), freedom))
    return FixedHorizon("Welch t", estimate / error, p_value, estimate, estimate - half, estimate + half, 1 - alpha)
