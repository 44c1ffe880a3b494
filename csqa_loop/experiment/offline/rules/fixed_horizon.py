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


def two_proportions_test(
    metric: str, challenger: tuple[float, int], control: tuple[float, int], alpha: float
) -> FixedHorizon | CannotCompute:
    """The pooled z test of (events, users) of each arm; its interval is Wald's, unpooled."""
    from scipy.stats import norm

    (events, users), (other_events, other_users) = challenger, control
    if not users or not other_users:
        return CannotCompute(metric, f"{metric} has no user with data in one arm")
    pooled = (events + other_events) / (users + other_users)
    if pooled in {0.0, 1.0}:
        return CannotCompute(metric, f"{metric} is {pooled:g} for all {users + other_users} users; no variance is not certainty")
    rates = events / users, other_events / other_users
    estimate = rates[0] - rates[1]
    statistic = estimate / math.sqrt(pooled * (1 - pooled) * (1 / users + 1 / other_users))
    half = float(norm.ppf(1 - alpha / 2)) * math.sqrt(rates[0] * (1 - rates[0]) / users + rates[1] * (1 - rates[1]) / other_users)
    return FixedHorizon(
        "pooled z", statistic, 2 * float(norm.sf(abs(statistic))), estimate, estimate - half, estimate + half, 1 - alpha
    )  # fmt: skip
