"""One metric in both arms: its bounds, and what they say for people."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from csqa_loop.errors import PermanentError
from csqa_loop.events import ArmEstimate, ExperimentContract, MetricContract
from csqa_loop.experiment.rules import rare_events
from csqa_loop.experiment.rules.statistics import (
    CannotCompute,
    Interval,
    MetricTotals,
    Ratio,
    interval_of,
    interval_of_difference,
    ratio,
)
from csqa_loop.settings.metrics import SHIPPED

HARM_FLOOR = 30
"""Users an arm with data before a bound may decide anything: below, a normal limit is a hope."""


def definitions(contract: ExperimentContract) -> Mapping[str, MetricContract]:
    """The metrics that the contract knows, by name."""
    return {metric.name: metric for metric in contract.metrics} or SHIPPED


@dataclass(frozen=True)
class Quantile:
    """A quantile over an arm's users: reported, never judged."""

    users: int
    value: float


@dataclass(frozen=True)
class ArmTotals:
    """One arm's closed users, and the sums of each metric over them."""

    arm: Literal["challenger", "control"]
    users: int
    metrics: Mapping[str, MetricTotals]
    quantiles: Mapping[str, Quantile] = field(default_factory=dict)
    late: int = 0
    """Of the users, those with an answer that came after their window: answered, and shown apart."""


@dataclass(frozen=True)
class Comparison:
    """One metric in both arms. `interval` is challenger minus control in the metric's own unit."""

    metric: MetricContract
    margin: float
    """0 for the primary; what a guardrail may lose."""
    challenger: Ratio | CannotCompute
    control: Ratio | CannotCompute
    interval: Interval | CannotCompute
    enough_users: bool
    """Both arms have the users that a normal limit asks for."""

    @property
    def gain(self) -> tuple[float, float] | None:
        """(lower, upper) bound of the improvement, positive for better; None while no bound may decide."""
        if isinstance(self.interval, CannotCompute) or not self.enough_users:
            return None
        bounds = (self.interval.lower, self.interval.upper)
        return bounds if self.metric.higher_is_better else (-bounds[1], -bounds[0])

    @property
    def holds(self) -> bool:
        """Better (primary), or worse by less than the margin (guardrail), at every look so far."""
        return self.gain is not None and self.gain[0] > -self.margin

    @property
    def harmed(self) -> bool:
        """The whole interval is on the wrong side."""
        return self.gain is not None and self.gain[1] < -self.margin

    def bound(self, side: Literal["lower", "upper"]) -> str:
        """The bound of the difference that decides, in words."""
        if isinstance(self.interval, CannotCompute):
            return self.interval.reason
        value = self.interval.lower if side == "lower" else self.interval.upper
        unit = self.metric.unit
        limit = "0" if self.margin == 0 else f"margin {-self.margin if self.metric.higher_is_better else self.margin:+.4g}{unit}"
        return f"{side} bound of {self.metric.name} (challenger minus control) is {value:+.4g}{unit} against {limit}"


def horizon(contract: ExperimentContract) -> float:
    """Users of both arms at which bounds are tightest: the geometric middle of where a verdict may fall."""
    return 2 * math.sqrt(contract.burn_in_users * max(contract.max_users, contract.burn_in_users))


def harm_floor(contract: ExperimentContract) -> int:
    """Users an arm with data before any bound may decide."""
    return min(contract.burn_in_users, HARM_FLOOR)


def compare(contract: ExperimentContract, name: str, margin: float, challenger: ArmTotals, control: ArmTotals, rho: float) -> Comparison:
    """The named metric in both arms.

    Raises:
        PermanentError: the contract does not define it, or it is a quantile.
    """
    known = definitions(contract)
    metric = known.get(name)
    if metric is None or metric.kind == "quantile":
        msg = f"metric {name!r} is {'a quantile, which has no bounds' if metric else 'not known'}; use one of {', '.join(_judged(known))}"
        raise PermanentError(msg)
    sides = [_side(metric, totals) for totals in (challenger, control)]
    enough = all(users_of(side) >= harm_floor(contract) for side in sides)
    one, other = sides
    if isinstance(one, CannotCompute):
        return Comparison(metric, margin, one, other, one, enough)
    if isinstance(other, CannotCompute):
        return Comparison(metric, margin, one, other, other, enough)
    if metric.kind == "proportion" and rare_events.are_rare(one, other):
        return Comparison(metric, margin, one, other, rare_events.interval_of_difference(one, other, contract.alpha), enough)
    return Comparison(metric, margin, one, other, interval_of_difference(one, other, contract.alpha, rho), enough)


def _judged(known: Mapping[str, MetricContract]) -> list[str]:
    return [metric.name for metric in known.values() if metric.kind != "quantile"]


def _side(metric: MetricContract, totals: ArmTotals) -> Ratio | CannotCompute:
    result = ratio(metric.name, totals.metrics.get(metric.name), bounded=metric.kind == "proportion")
    return CannotCompute(result.metric, f"{totals.arm}: {result.reason}") if isinstance(result, CannotCompute) else result


def users_of(side: Ratio | CannotCompute) -> int:
    """Users with data; 0 where nothing can be computed."""
    return 0 if isinstance(side, CannotCompute) else side.users


def estimates_of(comparison: Comparison, alpha: float, rho: float) -> Iterator[ArmEstimate]:
    """Both arms and their difference, as events and views carry them."""
    metric = comparison.metric
    arms: tuple[tuple[Literal["challenger", "control"], Ratio | CannotCompute], ...] = (
        ("challenger", comparison.challenger),
        ("control", comparison.control),
    )
    for arm, side in arms:
        if isinstance(side, CannotCompute):
            yield ArmEstimate(metric=metric.name, arm=arm, users=0)
            continue
        rare = metric.kind == "proportion" and min(side.estimate, 1 - side.estimate) * side.effective_users < rare_events.FEW_EVENTS
        own = rare_events.interval_of(side, alpha) if rare else interval_of(side, alpha, rho)
        # A rate outside [0, 1] says nothing, so such bounds are cut; the difference is what decides and is left alone.
        lower, upper = (max(own.lower, 0.0), min(own.upper, 1.0)) if metric.kind == "proportion" else (own.lower, own.upper)
        yield ArmEstimate(
            metric=metric.name, arm=arm, users=side.users, numerator=side.numerator, denominator=side.denominator,
            estimate=side.estimate, lower=lower, upper=upper,
        )  # fmt: skip
    users = users_of(comparison.challenger) + users_of(comparison.control)
    if isinstance(comparison.interval, CannotCompute):
        yield ArmEstimate(metric=metric.name, arm="difference", users=users)
    else:
        yield ArmEstimate(
            metric=metric.name, arm="difference", users=users,
            estimate=comparison.interval.estimate, lower=comparison.interval.lower, upper=comparison.interval.upper,
        )  # fmt: skip


def quantile_estimates(name: str, challenger: ArmTotals, control: ArmTotals) -> Iterator[ArmEstimate]:
    """Without bounds: nothing is decided by them."""
    sides = [side.quantiles.get(name) for side in (challenger, control)]
    for arm, side in zip((challenger.arm, control.arm), sides, strict=True):
        if side:
            yield ArmEstimate(metric=name, arm=arm, users=side.users, estimate=side.value)
    one, other = sides
    if one and other:
        yield ArmEstimate(metric=name, arm="difference", users=one.users + other.users, estimate=one.value - other.value)
