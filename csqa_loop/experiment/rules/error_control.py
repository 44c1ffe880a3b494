"""How many of the promoted adapters were no better? Error control over experiments that follow each other.

LORD++: Ramdas, Yang, Wainwright, Jordan, Online control of the false discovery rate with decaying memory, NeurIPS 2017, arXiv 1710.00499,
section 2; its estimate of the false discovery proportion, sum(alpha) / max(1, discoveries), is the one shown to people.
"""

from collections.abc import Sequence
from dataclasses import dataclass

FIRST_WEALTH = 0.5
"""Share of the target that may be spent before anything was promoted; the rest comes back with the first promotion."""
_DECAY = 1.6
_TOTAL = 2.2857656656801293
"""Riemann zeta of _DECAY: weights of all tests to come sum to 1."""


@dataclass(frozen=True)
class PastExperiment:
    """One experiment that was opened, in order."""

    alpha: float
    promoted: bool


@dataclass(frozen=True)
class ErrorBudget:
    """What the experiments so far may have cost."""

    experiments: int
    promotions: int
    expected_false: float
    """Promotions to expect if every challenger had been no better: the sum of their alphas."""

    @property
    def share_at_most(self) -> float:
        """Of the promotions, the share that may be false; 0 before the first."""
        return min(1.0, self.expected_false / self.promotions) if self.promotions else 0.0


def error_budget(history: Sequence[PastExperiment]) -> ErrorBudget:
    """What to tell people."""
    return ErrorBudget(len(history), sum(past.promoted for past in history), sum(past.alpha for past in history))


def weight(test: int) -> float:
    """Of the budget, for the test so many places after it was earned (from 1). Falls, and sums to 1.

    Any such sequence keeps the guarantee. j^-1.6 puts 44 % on the first test, for there are tens of adapters, not thousands of
    hypotheses; the sequence that is usual with LORD (Javanmard, Montanari 2018, equation 31) puts 5 % there.
    """
    return test**-_DECAY / _TOTAL if test >= 1 else 0.0


def next_alpha(history: Sequence[bool], target: float) -> float:
    """Level of the next experiment, so that at most `target` of all promotions is false in expectation.

    alpha_t = w0 weight(t) + (target - w0) weight(t - first) + target * sum over later promotions j of weight(t - j), with w0 =
    FIRST_WEALTH * target.

    Args:
        history: Whether each experiment before was promoted, oldest first. Every opened one counts, whatever stopped it.
        target: The false discovery rate.
    """
    test, first_wealth = len(history) + 1, FIRST_WEALTH * target
    alpha = first_wealth * weight(test)
    for number, place in enumerate(place for place, promoted in enumerate(history, start=1) if promoted):
        alpha += (target - first_wealth if number == 0 else target) * weight(test - place)
    return alpha
