"""What the arms of an experiment say. Pure: sums over closed users in, a closed verdict with its reason out.

The method is docs/statistics.md; the rules are the contract that `ExperimentOpened` carries.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from csqa_loop.errors import PermanentError
from csqa_loop.events import ArmEstimate, ExperimentContract, MetricContract, Verdict
from csqa_loop.experiment.rules import rare_events
from csqa_loop.experiment.rules.statistics import (
    CannotCompute,
    Interval,
    MetricTotals,
    Ratio,
    SampleRatio,
    interval_of,
    interval_of_difference,
    ratio,
    sample_ratio,
    tuning,
)
from csqa_loop.settings.metrics import SHIPPED

__all__ = [
    "Analysis",
    "ArmTotals",
    "Comparison",
    "MetricTotals",
    "Quantile",
    "analyse",
    "definitions",
    "harm_floor",
    "horizon",
]

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


@dataclass(frozen=True)
class Analysis:
    """One look."""

    verdict: Verdict
    stopped_by: str
    """Which metric and which bound stopped it; at CONTINUE, what is still missing."""
    estimates: tuple[ArmEstimate, ...]
    sample_ratio: SampleRatio
    primary: Comparison
    guardrails: tuple[Comparison, ...]

    @property
    def missing(self) -> tuple[CannotCompute, ...]:
        """Metrics of the contract without a number, with the reason."""
        return tuple(c.interval for c in (self.primary, *self.guardrails) if isinstance(c.interval, CannotCompute))


def analyse(
    contract: ExperimentContract,
    challenger: ArmTotals,
    control: ArmTotals,
    exposed: tuple[int, int],
    elapsed_seconds: float,
    *,
    share_is_final: bool = True,
) -> Analysis:
    """Judge an experiment by its contract. Looking costs nothing: call it after every user if you like.

    Args:
        contract: What was promised when the experiment opened.
        challenger: Closed users of the challenger.
        control: Closed users of the control.
        exposed: Distinct users exposed so far (challenger, control), closed or not: what the sample-ratio test reads.
        elapsed_seconds: Since the experiment opened.
        share_is_final: The ramp is at its last share. Before, harm may stop the experiment and nothing may promote: latency and errors
            at the full share are part of the promise.

    Raises:
        PermanentError: the contract names a metric that it does not define.
    """
    rho = tuning(contract.alpha, horizon(contract))
    primary = _compare(contract, contract.primary, 0.0, challenger, control, rho)
    guardrails = tuple(_compare(contract, g.metric, g.margin, challenger, control, rho) for g in contract.guardrails)
    named = {contract.primary, *(g.metric for g in contract.guardrails)}
    known = definitions(contract)
    reported = [
        _compare(contract, name, 0.0, challenger, control, rho)
        for name in known
        if name not in named and (name in challenger.metrics or name in control.metrics)
    ]
    quantiles = [row for name in known for row in _quantile_rows(name, challenger, control)]
    ratio_test = sample_ratio(*exposed)
    verdict, stopped_by = _judge(
        contract, primary, guardrails, ratio_test, (challenger.users, control.users), elapsed_seconds, share_is_final
    )
    estimates = tuple(row for c in (primary, *guardrails, *reported) for row in _rows(c, contract.alpha, rho))
    return Analysis(verdict, stopped_by, (*estimates, *quantiles), ratio_test, primary, guardrails)


def horizon(contract: ExperimentContract) -> float:
    """Users of both arms at which bounds are tightest: the geometric middle of where a verdict may fall."""
    return 2 * math.sqrt(contract.burn_in_users * max(contract.max_users, contract.burn_in_users))


def harm_floor(contract: ExperimentContract) -> int:
    """Users an arm with data before any bound may decide."""
    return min(contract.burn_in_users, HARM_FLOOR)


def _judge(
    contract: ExperimentContract,
    primary: Comparison,
    guardrails: tuple[Comparison, ...],
    ratio_test: SampleRatio,
    closed: tuple[int, int],
    elapsed_seconds: float,
    share_is_final: bool,
) -> tuple[Verdict, str]:
    if ratio_test.mismatch:
        counts = f"{ratio_test.challenger} challenger and {ratio_test.control} control users exposed"
        return "INVALID", f"sample ratio: {counts}, promised 1:1 (always-valid p = {ratio_test.p_value:.2g})"
    for comparison in (primary, *guardrails):
        if comparison.harmed:
            return "ROLL_BACK", "harm: " + comparison.bound("upper" if comparison.metric.higher_is_better else "lower")
    missing = list(_missing(contract, primary, guardrails, share_is_final=share_is_final))
    if not missing:
        return "PROMOTE", f"better: {primary.bound('lower')}; every guardrail within its margin"
    if min(closed) >= contract.max_users:
        return "INCONCLUSIVE", f"{contract.max_users} users an arm are closed (max_users); still missing: {missing[0]}"
    if elapsed_seconds >= contract.max_seconds:
        return "INCONCLUSIVE", f"{contract.max_seconds:g} s have passed (max_seconds); still missing: {missing[0]}"
    return "CONTINUE", f"not stopped; still missing: {missing[0]}"


def _missing(
    contract: ExperimentContract, primary: Comparison, guardrails: tuple[Comparison, ...], *, share_is_final: bool
) -> Iterator[str]:
    """What keeps the challenger from promotion, most telling first."""
    for comparison in (primary, *guardrails):
        if isinstance(comparison.interval, CannotCompute):
            yield comparison.interval.reason
    burnt_in = min(_users(primary.challenger), _users(primary.control))
    if burnt_in < contract.burn_in_users:
        yield f"burn-in: {burnt_in} of {contract.burn_in_users} users an arm with {primary.metric.name}"
    for comparison in (primary, *guardrails):
        if not isinstance(comparison.interval, CannotCompute) and not comparison.holds:
            if comparison.enough_users:
                yield comparison.bound("lower" if comparison.metric.higher_is_better else "upper")
            else:
                yield f"users with {comparison.metric.name}"
    if not share_is_final:
        yield "the ramp has not reached its last share"


def _compare(contract: ExperimentContract, name: str, margin: float, challenger: ArmTotals, control: ArmTotals, rho: float) -> Comparison:
    known = definitions(contract)
    metric = known.get(name)
    if metric is None or metric.kind == "quantile":
        msg = f"metric {name!r} is {'a quantile, which has no bounds' if metric else 'not known'}; use one of {', '.join(_judged(known))}"
        raise PermanentError(msg)
    sides = [_side(metric, totals) for totals in (challenger, control)]
    enough = all(_users(side) >= harm_floor(contract) for side in sides)
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


def _users(side: Ratio | CannotCompute) -> int:
    return 0 if isinstance(side, CannotCompute) else side.users


def _rows(comparison: Comparison, alpha: float, rho: float) -> Iterator[ArmEstimate]:
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
    users = _users(comparison.challenger) + _users(comparison.control)
    if isinstance(comparison.interval, CannotCompute):
        yield ArmEstimate(metric=metric.name, arm="difference", users=users)
    else:
        yield ArmEstimate(
            metric=metric.name, arm="difference", users=users,
            estimate=comparison.interval.estimate, lower=comparison.interval.lower, upper=comparison.interval.upper,
        )  # fmt: skip


def _quantile_rows(name: str, challenger: ArmTotals, control: ArmTotals) -> Iterator[ArmEstimate]:
    """Without bounds: nothing is decided by them."""
    sides = [side.quantiles.get(name) for side in (challenger, control)]
    for arm, side in zip((challenger.arm, control.arm), sides, strict=True):
        if side:
            yield ArmEstimate(metric=name, arm=arm, users=side.users, estimate=side.value)
    one, other = sides
    if one and other:
        yield ArmEstimate(metric=name, arm="difference", users=one.users + other.users, estimate=one.value - other.value)
