"""Bounds that stay valid however often one looks. Sums over users in, intervals or a typed "cannot compute" out.

Method and sources: docs/statistics.md. The unit is a user; a metric is a ratio sum(num) / sum(den) over users, so a mean
and a proportion are the case den = 1. What takes `Number` works on one look and on arrays of looks alike.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Number = float | Floats

PSEUDO_USERS = 6
"""Users added to the variance of a proportion: half at 0 and half at 1, each with the mean denominator.

The idea is Agresti and Coull's (1998); their four are too few for unlimited looks: a challenger with 2 % errors against none passed a
margin of 0.02 in 5.6 % of simulated experiments, and in 4.7 % with six.
"""
SAMPLE_RATIO_CONCENTRATION = 50.0
"""Parameters of the Dirichlet prior of the sample-ratio test: an alternative of 0.50 +- 0.05."""
SAMPLE_RATIO_ALPHA = 0.001
SPLIT_DOUBT = 1.0
"""E-value against the promised split above which nothing is promoted: the users who came must not speak for another split (docs/statistics.md)."""
LARGEST_TUNED_ALPHA = 0.25


@dataclass(frozen=True)
class MetricTotals:
    """What an arm's users did, as sums over users: enough for the ratio and its variance.

    `users` counts those with a positive denominator: a user who never rated says nothing about satisfaction.
    """

    users: int
    num: float
    den: float
    num2: float
    den2: float
    cross: float

    @classmethod
    def of(cls, users: Iterable[tuple[float, float]]) -> Self:
        """Totals of (num, den), one pair a user."""
        pairs = [(num, den) for num, den in users if den > 0]
        return cls(
            users=len(pairs),
            num=math.fsum(num for num, _ in pairs),
            den=math.fsum(den for _, den in pairs),
            num2=math.fsum(num * num for num, _ in pairs),
            den2=math.fsum(den * den for _, den in pairs),
            cross=math.fsum(num * den for num, den in pairs),
        )


@dataclass(frozen=True)
class CannotCompute:
    """No number, and why. Never a plausible one instead."""

    metric: str
    reason: str


@dataclass(frozen=True)
class Ratio:
    """An estimate and the variance of its influence function: `variance / users` is the squared standard error."""

    users: int
    numerator: float
    denominator: float
    estimate: float
    variance: float
    effective_users: float
    """Users of equal weight that would say as much: sum(den)^2 / sum(den^2) (Kish 1965)."""


@dataclass(frozen=True)
class Interval:
    """A confidence sequence's present value. Each side alone holds with probability 1 - alpha at all looks together."""

    estimate: float
    lower: float
    upper: float


def ratio(metric: str, totals: MetricTotals | None, *, bounded: bool) -> Ratio | CannotCompute:
    """The ratio of sums and the delta-method variance of one user's influence on it.

    Args:
        metric: Its name, for the reason.
        totals: Sums over users; None where the arm has none.
        bounded: A proportion: see `influence_variance`.
    """
    if totals is None or totals.users == 0 or totals.den == 0:
        return CannotCompute(metric, f"{metric} has no user with data")
    sums = (totals.num, totals.den, totals.num2, totals.den2, totals.cross)
    if not all(math.isfinite(value) for value in sums):
        return CannotCompute(metric, f"{metric} has sums that are not finite")
    if totals.users < 2:
        return CannotCompute(metric, f"{metric} has one user; a variance needs two")
    variance = float(influence_variance(totals.users, *sums, bounded=bounded))
    if math.isnan(variance):
        return CannotCompute(metric, f"{metric} is the same for all {totals.users} users; no variance is not certainty")
    return Ratio(totals.users, totals.num, totals.den, totals.num / totals.den, variance, totals.den**2 / totals.den2)


def influence_variance(users: Number, num: Number, den: Number, num2: Number, den2: Number, cross: Number, *, bounded: bool) -> Number:
    """Variance of one user's influence on sum(num) / sum(den), from the sums that `MetricTotals` names; NaN where there is none.

    With R = sum(num) / sum(den), user i's influence is (num_i - R den_i) / mean(den); its variance is
    n / (n - 1) * (sum num^2 - 2 R sum num den + R^2 sum den^2) / n / mean(den)^2 (Deng, Knoblich, Lu 2018, section 3).
    A proportion is `bounded`: each num_i lies between 0 and den_i. Its variance is taken with PSEUDO_USERS more users, so that no event
    in n users reads as "about three in n", not as certainty.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if bounded:
            mean, ends = np.divide(den, users), PSEUDO_USERS / 2
            users, num, den = users + 2 * ends, num + ends * mean, den + 2 * ends * mean
            num2, den2, cross = num2 + ends * mean**2, den2 + 2 * ends * mean**2, cross + ends * mean**2
        centre = np.divide(num, den)
        squares = num2 - 2 * centre * cross + centre**2 * den2
        # What cancellation leaves of a constant is not a variance.
        noise = 1e-12 * (num2 + centre**2 * den2)
        variance = np.divide(squares, np.subtract(users, 1)) / np.divide(den, users) ** 2
        return np.where(squares > noise, variance, np.nan)


def tuning(alpha: float, horizon: float) -> float:
    """The rho that makes the one-sided bound about tightest at `horizon` users.

    rho^2 = (-2 log(2 alpha) + log(1 - 2 log(2 alpha))) / horizon: Waudby-Smith et al. (arXiv 2103.06476), appendix on tuning rho, with 2 alpha for
    one side. Far from the horizon the bound widens slowly, never wrongly. The approximation breaks down towards alpha = 1/2, where a bound
    would grow with alpha; so no rho is made for more than LARGEST_TUNED_ALPHA, and stays within 2 % of the best for any alpha.
    """
    level = -2 * math.log(2 * min(alpha, LARGEST_TUNED_ALPHA))
    return math.sqrt((level + math.log1p(level)) / horizon)


def radius(variance: Number, users: Number, alpha: float, rho: float) -> Number:
    """Half-width of the one-sided asymptotic confidence sequence after `users` users.

    sqrt(variance) * sqrt(2 (t rho^2 + 1) / (t^2 rho^2) * log(1 + sqrt(t rho^2 + 1) / (2 alpha))): Waudby-Smith et al.,
    one-sided form of theorem 2.2.
    """
    scaled = users * rho**2
    half: Number = np.sqrt(variance * 2 * (scaled + 1) / (users * scaled) * np.log1p(np.sqrt(scaled + 1) / (2 * alpha)))
    return half


def interval_of(arm: Ratio, alpha: float, rho: float) -> Interval:
    """One arm's ratio."""
    half = float(radius(arm.variance, arm.users, alpha, rho))
    return Interval(arm.estimate, arm.estimate - half, arm.estimate + half)


def interval_of_difference(challenger: Ratio, control: Ratio, alpha: float, rho: float) -> Interval:
    """Challenger minus control."""
    half = float(radius_of_difference((challenger.variance, control.variance), (challenger.users, control.users), alpha, rho))
    estimate = challenger.estimate - control.estimate
    return Interval(estimate, estimate - half, estimate + half)


def radius_of_difference(variances: tuple[Number, Number], users: tuple[Number, Number], alpha: float, rho: float) -> Number:
    """Half-width for challenger minus control.

    Time is t = n_challenger + n_control, and the variance of one step is t times the squared standard error of the difference, so
    that arms of unequal size are weighed as they are.
    """
    together = users[0] + users[1]
    return radius(together * (np.divide(variances[0], users[0]) + np.divide(variances[1], users[1])), together, alpha, rho)


@dataclass(frozen=True)
class SampleRatio:
    """Did the arms get users one to one? The sequential multinomial test of Lindon and Malek (arXiv 2011.03567)."""

    challenger: int
    control: int
    log_e_value: float

    @property
    def p_value(self) -> float:
        """Always-valid: 1 / e-value, at most 1."""
        return math.exp(-max(self.log_e_value, 0.0))

    @property
    def mismatch(self) -> bool:
        """The split is not the promised one; nothing else in the experiment can be believed."""
        return self.log_e_value >= -math.log(SAMPLE_RATIO_ALPHA)

    @property
    def in_doubt(self) -> bool:
        """Too little speaks for the promised split to promote anything now; more users settle it one way or the other."""
        return self.log_e_value > math.log(SPLIT_DOUBT)

    @property
    def counts(self) -> str:
        """In words."""
        return f"{self.challenger} challenger and {self.control} control users exposed, promised 1:1"


def sample_ratio(challenger: int, control: int) -> SampleRatio:
    """Evidence against 1:1 from the numbers of exposed users.

    The e-value is the Bayes factor of a Dirichlet(k, k) mixture against (1/2, 1/2); by Ville's inequality it ever passes 1 / alpha with
    probability at most alpha if the ratio is right, whenever and however often one looks.
    """
    return SampleRatio(challenger, control, float(sample_ratio_evidence(challenger, control)))


def sample_ratio_evidence(challenger: Number, control: Number) -> Number:
    """Logarithm of the e-value of `sample_ratio`."""
    from scipy.special import betaln

    k = SAMPLE_RATIO_CONCENTRATION
    evidence: Number = betaln(k + challenger, k + control) - betaln(k, k) + (challenger + control) * math.log(2)
    return evidence
