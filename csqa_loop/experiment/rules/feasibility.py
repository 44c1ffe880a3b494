"""Could the contract ever be fulfilled? Asked before the first user enters."""

from collections.abc import Iterator
from dataclasses import dataclass

from csqa_loop.events import ExperimentContract
from csqa_loop.experiment.rules import rare_events
from csqa_loop.experiment.rules.comparison import definitions

_MOST_USERS = 2**31 - 1
ANSWERS_A_WINDOW = 3.0
"""Slow answers for which a window must have room: one third of it for the answer, as much again for a challenger that takes twice as long,
and the rest for the customer to read it and rate it."""
_FEWEST_ANSWERS = 20
"""Of fewer, the 95th percentile is the slowest one."""


@dataclass(frozen=True)
class RecentLatency:
    """How long the last answers took."""

    answers: int
    p95_seconds: float


def short_window(contract: ExperimentContract, recent: RecentLatency) -> str | None:
    """Why the contract's window cannot hold what customers do in it, and what would be right; None where it can, or nothing is known."""
    needed = ANSWERS_A_WINDOW * recent.p95_seconds
    if recent.answers < _FEWEST_ANSWERS or contract.window_seconds >= needed:
        return None
    return (
        f"no experiment opens: its window of {contract.window_seconds:g} s (experiment.window_seconds) is shorter than {ANSWERS_A_WINDOW:g} times "
        f"the {recent.p95_seconds:.3g} s in which 95 % of the last {recent.answers} answers came, so users would be counted before they could "
        f"rate. Set at least {needed:.3g} s, or make answers quicker"
    )


def impossible_margins(contract: ExperimentContract) -> Iterator[str]:
    """Guardrails that a challenger exactly as good as the champion could not pass at `max_users`, each with what would be right.

    Only proportions can be told beforehand: without a single event in either arm their bound is known. What a mean takes depends on its
    variance.
    """
    known = definitions(contract)
    for guardrail in contract.guardrails:
        if known[guardrail.metric].kind != "proportion":
            continue
        narrowest = _narrowest(contract.max_users, contract.alpha)
        if guardrail.margin <= narrowest:
            yield (
                f"guardrail {guardrail.metric!r} has margin {guardrail.margin:g}, which max_users = {contract.max_users} can never show at "
                f"alpha = {contract.alpha:.4g}: without one event in either arm the bound is {narrowest:.4g}. "
                f"Take a margin above {narrowest:.4g}, or max_users of at least {_users_for(guardrail.margin, contract.alpha)}"
            )


def _narrowest(users: int, alpha: float) -> float:
    return float(rare_events.bounds_of_difference((0.0, float(users)), (0.0, float(users)), alpha)[1])


def _users_for(margin: float, alpha: float) -> int:
    enough, short = 2, 1
    while _narrowest(enough, alpha) >= margin and enough < _MOST_USERS:
        enough, short = 2 * enough, enough
    while enough - short > 1:
        middle = (enough + short) // 2
        enough, short = (middle, short) if _narrowest(middle, alpha) < margin else (enough, middle)
    return enough
