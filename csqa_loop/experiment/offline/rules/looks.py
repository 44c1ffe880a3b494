"""An experiment looked at after every single user, all looks at once: the rules of `experiment.analyse` on arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from csqa_loop.events import ExperimentContract, MetricContract, Verdict
from csqa_loop.experiment.rules import rare_events
from csqa_loop.experiment.rules.comparison import definitions, harm_floor, horizon
from csqa_loop.experiment.rules.statistics import (
    SAMPLE_RATIO_ALPHA,
    SPLIT_DOUBT,
    Floats,
    MetricTotals,
    influence_variance,
    radius_of_difference,
    sample_ratio_evidence,
    tuning,
)

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Looks:
    """One metric's sums after every user: arrays of shape (2, experiments, looks), the challenger first."""

    users: Floats
    num: Floats
    den: Floats
    num2: Floats
    den2: Floats
    cross: Floats

    @classmethod
    def after_each(cls, num: Floats, den: Floats, challenger: Flags) -> Self:
        """From what each user did, in the order in which they entered; shape (experiments, users). den = 0: nothing to say."""
        arms = np.stack([challenger, ~challenger]) * (den > 0)
        num, den = arms * num, arms * den
        return cls(*(np.cumsum(values, axis=-1, dtype=float) for values in (arms, num, den, num * num, den * den, num * den)))

    def at(self, looks: NDArray[np.int64]) -> Self:
        """These looks alone."""
        return type(self)(*(sums[..., looks] for sums in (self.users, self.num, self.den, self.num2, self.den2, self.cross)))

    def totals(self, experiment: int, look: int) -> tuple[MetricTotals, MetricTotals]:
        """One look, as `analyse` takes it: challenger, control."""
        one, other = (
            MetricTotals(int(self.users[at]), *(float(sums[at]) for sums in (self.num, self.den, self.num2, self.den2, self.cross)))
            for at in ((0, experiment, look), (1, experiment, look))
        )
        return one, other


@dataclass(frozen=True)
class Stops:
    """Where each experiment stopped."""

    verdicts: tuple[Verdict, ...]
    """CONTINUE: never."""
    looks: NDArray[np.int64]
    """The look of the verdict; the last one where it never stopped."""


def first_verdicts(contract: ExperimentContract, metrics: Mapping[str, Looks], entered: Floats, *, may_promote: bool = True) -> Stops:
    """The first look at which the rules say anything but CONTINUE, at the ramp's last share and within `max_seconds`.

    Args:
        contract: The rules.
        metrics: Looks of the primary and of every guardrail.
        entered: Users so far, shape (2, experiments, looks), whatever they did.
        may_promote: Nothing else speaks against it: the `doubt` of `analyse`.
    """
    known = definitions(contract)
    winning = metrics[contract.primary].users.min(axis=0) >= contract.burn_in_users
    harmed = np.zeros_like(winning)
    for name, margin in ((contract.primary, 0.0), *((guardrail.metric, guardrail.margin) for guardrail in contract.guardrails)):
        enough = metrics[name].users.min(axis=0) >= harm_floor(contract)
        lower, upper = metric_gains(known[name], metrics[name], contract, margin, winning)
        winning &= enough & (lower > -margin)
        harmed |= enough & (upper < -margin)
    split = np.asarray(sample_ratio_evidence(entered[0], entered[1]))
    invalid = split >= -np.log(SAMPLE_RATIO_ALPHA)
    winning &= may_promote & (split <= np.log(SPLIT_DOUBT))
    over = entered.min(axis=0) >= contract.max_users

    stopped = invalid | harmed | winning | over
    last = np.where(stopped.any(axis=-1), stopped.argmax(axis=-1), stopped.shape[-1] - 1)
    at = np.arange(len(last)), last
    order: tuple[tuple[Verdict, Flags], ...] = (("INVALID", invalid), ("ROLL_BACK", harmed), ("PROMOTE", winning), ("INCONCLUSIVE", over))
    said = np.stack([flags[at] for _, flags in order])
    names: list[Verdict] = [*(name for name, _ in order), "CONTINUE"]
    first = np.where(said.any(axis=0), said.argmax(axis=0), len(order))
    return Stops(tuple(names[place] for place in first), last)


def metric_gains(
    metric: MetricContract, looks: Looks, contract: ExperimentContract, margin: float, winning: Flags
) -> tuple[Floats, Floats]:
    """(lower, upper) bound of the improvement, positive for better; NaN where it cannot be computed or decides nothing.

    Exact bounds take time, so they are made only where enough users came, and either everything else is `winning` or the estimate
    alone lies beyond the margin.
    """
    alpha, rho = contract.alpha, tuning(contract.alpha, horizon(contract))
    enough = looks.users.min(axis=0) >= harm_floor(contract)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.asarray(
            influence_variance(looks.users, looks.num, looks.den, looks.num2, looks.den2, looks.cross, bounded=metric.kind == "proportion")
        )
        rates = looks.num / looks.den
        estimate = rates[0] - rates[1]
        half = np.asarray(radius_of_difference((variance[0], variance[1]), (looks.users[0], looks.users[1]), alpha, rho))
        lower, upper = estimate - half, estimate + half
        if metric.kind == "proportion":
            weight = looks.den**2 / looks.den2
            rare = np.asarray(rare_events.rarest((rates[0], rates[1]), (weight[0], weight[1]))) < rare_events.FEW_EVENTS
            worse = (estimate if metric.higher_is_better else -estimate) < -margin
            here = rare & enough & (winning | worse)
            events = [rates[arm][here] * weight[arm][here] for arm in (0, 1)]
            exact = rare_events.bounds_of_difference((events[0], weight[0][here]), (events[1], weight[1][here]), alpha)
            lower[rare], upper[rare] = np.nan, np.nan
            lower[here], upper[here] = exact
    return (lower, upper) if metric.higher_is_better else (-upper, -lower)
