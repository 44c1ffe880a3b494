"""Bounds on proportions that are exact at every sample size and at every look: for events so rare that no normal limit holds.

Truncated beta-binomial mixture: Robbins (Annals of Mathematical Statistics 41, 1970); Howard, Ramdas, McAuliffe, Sekhon (Annals of Statistics 49,
2021, arXiv 1810.08240, proposition 7 and section 3). Method and proof: docs/statistics.md.
"""

from typing import TYPE_CHECKING

import numpy as np

from csqa_loop.experiment.rules.statistics import Interval, Number, Ratio

if TYPE_CHECKING:
    from csqa_loop.experiment.rules.statistics import Floats

FEW_EVENTS = 10.0
"""Events, and absences of events, in each arm from which a normal limit holds well enough: docs/statistics.md says what was measured."""
_PRIOR = 0.5
"""Both parameters of the beta mixture (Jeffreys)."""
_START = 2.0
_MOST_STEPS = 60
_PRECISION = 1e-11


def upper_bound(events: Number, users: Number, alpha: float) -> "Floats":
    """The upper confidence sequence of the mean of independent values in [0, 1] that sum to `events` after `users` users.

    Against a mean of at least p, the average of (q / p)^events ((1 - q) / (1 - p))^(users - events) over q < p, with q from a beta
    distribution cut at p, is at most a martingale that starts at 1; p is excluded once it reaches 1 / alpha (Ville).
    """
    # The gateway's processes import experiments for the arms alone.
    from scipy.special import betainc, betaln

    successes, trials = np.broadcast_arrays(np.asarray(events, dtype=float), np.asarray(users, dtype=float))
    failures = trials - successes
    inside = (trials > 0) & (failures > 0)
    bound = np.ones(trials.shape)
    if not inside.any():
        return bound
    successes, failures, trials = successes[inside], failures[inside], trials[inside]
    a, b = _PRIOR + successes, _PRIOR + failures
    posterior, prior = betaln(a, b), betaln(_PRIOR, _PRIOR)
    # Above `low` the evidence grows with p; below there is none. A Bernstein bound is near enough to start from.
    low, high = (successes + _PRIOR) / (trials + _PRIOR), np.ones_like(trials)
    mean, level = successes / trials, _START - np.log(alpha)
    p = np.clip(mean + np.sqrt(2 * mean * (1 - mean) * level / trials) + level / trials, low, (1 + low) / 2)
    with np.errstate(over="ignore"):
        for _ in range(_MOST_STEPS):
            below, below_prior = betainc(a, b, p), betainc(_PRIOR, _PRIOR, p)
            likelihood = successes * np.log(p) + failures * np.log1p(-p)
            evidence = posterior - prior + np.log(below) - np.log(below_prior) - likelihood + np.log(alpha)
            density = np.exp(likelihood - posterior) / below - np.exp(-prior) / below_prior
            slope = density / np.sqrt(p * (1 - p)) + (trials * p - successes) / (p * (1 - p))
            low, high = np.where(evidence < 0, p, low), np.where(evidence < 0, high, p)
            newton = p - evidence / slope
            step = np.where((newton >= low) & (newton <= high), newton, (low + high) / 2) - p
            p = p + step
            if np.abs(step).max() < _PRECISION:
                break
    bound[inside] = p
    return bound


def lower_bound(events: Number, users: Number, alpha: float) -> "Floats":
    """The mirror image of `upper_bound`."""
    return 1.0 - upper_bound(np.subtract(users, events), users, alpha)


def bounds_of_difference(challenger: tuple[Number, Number], control: tuple[Number, Number], alpha: float) -> tuple["Floats", "Floats"]:
    """(lower, upper) of challenger minus control from (events, users) of each. Each side holds at alpha: half of it for each arm."""
    return (
        lower_bound(*challenger, alpha / 2) - upper_bound(*control, alpha / 2),
        upper_bound(*challenger, alpha / 2) - lower_bound(*control, alpha / 2),
    )


def rarest(rates: tuple[Number, Number], users: tuple[Number, Number]) -> Number:
    """Events, or their absence, in one arm or the other: whatever was seen least."""
    seen = [np.minimum(rate, np.subtract(1, rate)) * number for rate, number in zip(rates, users, strict=True)]
    least: Number = np.minimum(seen[0], seen[1])
    return least


def interval_of(arm: Ratio, alpha: float) -> Interval:
    """One arm's proportion."""
    events = arm.estimate * arm.effective_users
    lower, upper = lower_bound(events, arm.effective_users, alpha), upper_bound(events, arm.effective_users, alpha)
    return Interval(arm.estimate, float(lower), float(upper))


def interval_of_difference(challenger: Ratio, control: Ratio, alpha: float) -> Interval:
    """Challenger minus control."""
    arms = [(arm.estimate * arm.effective_users, arm.effective_users) for arm in (challenger, control)]
    lower, upper = bounds_of_difference(arms[0], arms[1], alpha)
    return Interval(challenger.estimate - control.estimate, float(lower), float(upper))


def are_rare(challenger: Ratio, control: Ratio) -> bool:
    """Too few events for a normal limit."""
    rates, users = (challenger.estimate, control.estimate), (challenger.effective_users, control.effective_users)
    return float(rarest(rates, users)) < FEW_EVENTS
