"""Champion and candidate on the same items, as a check of the gate: how far the candidate may fall, and whether it is better beyond chance."""

from collections.abc import Sequence

from csqa_loop.domain.events import GateCheck
from csqa_loop.domain.resampling import difference_interval

ENOUGH_QUESTIONS = 20
"""Different questions from which on an interval is drawn. A percentile bootstrap of few is too narrow (Hesterberg 2015)."""
_LEVEL = 1 - 0.05 / 3
"""Being better in any of three figures is enough, so each interval gets a third of the error (Bonferroni)."""


def share_check(name: str, champion: Sequence[bool], candidate: Sequence[bool], margin: float, unit: str) -> GateCheck:
    """The share of items that are right may fall by `margin`, or by one item where that is more.

    Raises:
        ValueError: the two are not on the same items.
    """
    if len(champion) != len(candidate):
        msg = f"{name}: {len(champion)} results of the champion and {len(candidate)} of the candidate; both must be on the same {unit}"
        raise ValueError(msg)
    n = len(champion)
    if not n:
        return GateCheck(name=name, passed=True, margin=margin, detail="no data")
    before, after = sum(champion), sum(candidate)
    allowed = at_least_one_item(margin, n)
    detail = f"{after} of {n} {unit} with the candidate, {before} with the champion"
    passed = (before - after) / n <= allowed + 1e-9
    return GateCheck(name=name, passed=passed, champion=before / n, candidate=after / n, margin=allowed, n=n, detail=detail)


def at_least_one_item(margin: float, n: int) -> float:
    """The margin of a share of `n` items: one more or less is never evidence, however few there are."""
    return max(margin, 1 / n)


def bounded(check: GateCheck, champion: Sequence[float], candidate: Sequence[float], questions: Sequence[str]) -> GateCheck:
    """The check with bounds where its items are about enough different questions, and otherwise with a word on that."""
    if not check.n:
        return check
    different = len(set(questions))
    if different < ENOUGH_QUESTIONS:
        few = f"too few to decide whether it is better: {different} different questions of {ENOUGH_QUESTIONS}"
        return check.model_copy(update={"detail": f"{check.detail}; {few}"})
    found = difference_interval(champion, candidate, questions, level=_LEVEL)
    return check.model_copy(update={"lower": found.lower, "upper": found.upper})
