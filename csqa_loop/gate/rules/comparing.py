"""Champion and candidate on the same items, as a check of the gate: whether the candidate is no worse, and whether it is better beyond chance.

docs/decisions/0014 has the rules and why they are these.
"""

from collections.abc import Sequence

from csqa_loop.events import GateCheck
from csqa_loop.gate.rules.resampling import BootstrapInterval, difference_interval

ENOUGH_QUESTIONS = 20
"""Different questions from which on an interval is drawn. A percentile bootstrap of few is too narrow (Hesterberg 2015)."""
_BETTER_LEVEL = 1 - 0.05 / 3
"""Being better in any of three figures is enough, so each interval gets a third of the error (Bonferroni)."""
_NO_WORSE_LEVEL = 0.90
"""Its lower end is a one-sided bound at 95 %. Being no worse must hold in every figure, so none of them needs a correction."""
_SLACK = 1e-9


def share_check(
    name: str,
    champion: Sequence[bool],
    candidate: Sequence[bool],
    margin: float,
    unit: str,
    questions: Sequence[str],
    *,
    superiority: bool = False,
) -> GateCheck:
    """The share of items that are right must not be lower by more than `margin`; one item less is never evidence.

    Args:
        name: the check's.
        champion: an item each, right or not.
        candidate: the same items.
        margin: what may be lost, as a share.
        unit: what the items are.
        questions: what each item is about.
        superiority: whether being better here beyond chance counts.

    Raises:
        ValueError: the two are not on the same items.
    """
    if not len(champion) == len(candidate) == len(questions):
        msg = f"{name}: {len(champion)} results of the champion and {len(candidate)} of the candidate; both must be on the same {unit}"
        raise ValueError(msg)
    n = len(champion)
    if not n:
        return GateCheck(name=name, passed=True, margin=margin, detail="no data")
    before, after = sum(champion), sum(candidate)
    detail = f"{after} of {n} {unit} with the candidate, {before} with the champion"
    check = GateCheck(
        name=name, passed=True, champion=before / n, candidate=after / n, margin=at_least_one_item(margin, n), n=n, detail=detail
    )
    if superiority:
        check = bounded(check, champion, candidate, questions)
    return no_worse(check, champion, candidate, questions, margin=margin, harmless=1 / n, few=at_least_one_item(margin, n))


def at_least_one_item(margin: float, n: int) -> float:
    """The margin of a share of `n` items: one more or less is never evidence, however few there are."""
    return max(margin, 1 / n)


def bounded(check: GateCheck, champion: Sequence[float], candidate: Sequence[float], questions: Sequence[str]) -> GateCheck:
    """The check with the bounds that superiority is judged by, where its items are about enough different questions."""
    if not check.n:
        return check
    if not enough(questions):
        few = f"too few to decide whether it is better: {len(set(questions))} different questions of {ENOUGH_QUESTIONS}"
        return check.model_copy(update={"detail": f"{check.detail}; {few}"})
    interval = difference_interval(champion, candidate, questions, level=_BETTER_LEVEL)
    return check.model_copy(update={"lower": interval.lower, "upper": interval.upper})


def no_worse(
    check: GateCheck,
    champion: Sequence[float],
    candidate: Sequence[float],
    questions: Sequence[str],
    *,
    margin: float,
    few: float,
    harmless: float = 0.0,
    weights: Sequence[float] | None = None,
) -> GateCheck:
    """The check, failed where the candidate is not shown to be no worse than the champion by `margin`.

    With enough questions the one-sided lower bound of the mean difference must not lie below the margin. A candidate whose mean is not lower
    at all passes as well: where answers change a lot, few questions cannot show it even for an equal one.

    Args:
        check: with everything but the verdict.
        champion: one value an item, higher is better.
        candidate: one value for each of the same items.
        questions: what each item is about.
        margin: what may be lost, in the unit of the values.
        few: what the mean may lose where there are too few questions for a bound.
        harmless: a loss of the mean that is never evidence.
        weights: of the items in the mean; None: all the same.
    """
    if not check.n:
        return check
    loss = _loss(champion, candidate, weights)
    if not enough(questions):
        return check.model_copy(update={"passed": loss <= max(few, harmless) + _SLACK})
    interval = difference_interval(champion, candidate, questions, level=_NO_WORSE_LEVEL, weights=weights)
    passed, reason = _decided(interval, loss, margin, harmless)
    return check.model_copy(
        update={"passed": passed, "floor": interval.lower, "detail": f"{check.detail}; {reason}" if reason else check.detail}
    )


def enough(questions: Sequence[str]) -> bool:
    """Whether there are different questions enough for an interval."""
    return len(set(questions)) >= ENOUGH_QUESTIONS


def _decided(interval: BootstrapInterval, loss: float, margin: float, harmless: float) -> tuple[bool, str]:
    if interval.lower >= -margin - _SLACK:
        return True, ""
    reaches = f"it may be {-interval.lower:.3g} lower (95 %), and {margin:.3g} is allowed"
    if loss <= harmless + _SLACK:
        return True, f"{reaches}: too few questions to show that it is not, but it is not lower by anything that counts"
    return False, f"not shown to be no worse: {reaches}"


def _loss(champion: Sequence[float], candidate: Sequence[float], weights: Sequence[float] | None) -> float:
    shares = weights if weights is not None else [1.0] * len(champion)
    return sum((before - after) * weight for before, after, weight in zip(champion, candidate, shares, strict=True)) / sum(shares)
