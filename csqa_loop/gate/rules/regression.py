"""The regression suite: questions that the champion answers and that a candidate must not forget. Pure; grades in, checks out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from csqa_loop.events import GateCheck
from csqa_loop.evidence.rules.grading import Grade, Probe
from csqa_loop.gate.rules.comparing import at_least_one_item, share_check
from csqa_loop.training.run.files import Category, Scores

ENOUGH_IN_CATEGORY = 10
"""Answers in a category from which on its fall fails the gate. The fall of a smaller one is named."""

_NAMED = 5


@dataclass(frozen=True)
class Graded:
    """One phrasing of a regression question, answered by both."""

    question: Probe
    champion: Grade
    candidate: Grade

    @property
    def lost(self) -> bool:
        """Right before, wrong now."""
        return self.champion.right and not self.candidate.right


def categories(results: Sequence[Graded]) -> tuple[Category, ...]:
    """Every category by name."""
    return tuple(
        Category(name, len(group), Scores.of([one.champion for one in group]), Scores.of([one.candidate for one in group]))
        for name, group in _by_category(results).items()
    )


def over_all(found: Sequence[Category]) -> Category:
    """The macro mean over categories, at least one."""
    return Category(
        "mean over categories",
        sum(category.answers for category in found),
        Scores.mean([category.champion for category in found]),
        Scores.mean([category.candidate for category in found]),
    )


def regression_checks(results: Sequence[Graded], margin: float) -> tuple[GateCheck, ...]:
    """Over all questions, over those that none may be lost of, and category by category; macro F1 is reported and fails nothing."""
    return (_all(results, margin), _zero_tolerance(results), _categories(results, margin), _macro_f1(results))


def _all(results: Sequence[Graded], margin: float) -> GateCheck:
    before, after = [result.champion.right for result in results], [result.candidate.right for result in results]
    asked = [result.question.id for result in results]
    return share_check("regression questions", before, after, margin, "questions", asked, superiority=True)


def _zero_tolerance(results: Sequence[Graded]) -> GateCheck:
    name = "zero-tolerance questions"
    known = [result for result in results if result.question.zero_tolerance and result.champion.right]
    if not known:
        return GateCheck(name=name, passed=True, detail="no data")
    lost = [result.question.id for result in known if result.lost]
    detail = f"lost: {_listed(dict.fromkeys(lost))}" if lost else "all that the champion answers right are still right"
    kept = 1 - len(lost) / len(known)
    return GateCheck(name=name, passed=not lost, champion=1.0, candidate=kept, n=len(known), detail=detail)


def _categories(results: Sequence[Graded], margin: float) -> GateCheck:
    name = "regression categories"
    found = categories(results)
    if not found:
        return GateCheck(name=name, passed=True, margin=margin, detail="no data")
    fallen, failed = [], False
    for category in found:
        before, after = category.champion.accuracy, category.candidate.accuracy
        if before - after > at_least_one_item(margin, category.answers) + 1e-9:
            enough = category.answers >= ENOUGH_IN_CATEGORY
            failed = failed or enough
            few = "" if enough else ", too few to decide"
            fallen.append(f"{category.name} from {before:.2f} to {after:.2f} ({category.answers} answers{few})")
    mean = over_all(found)
    return GateCheck(
        name=name,
        passed=not failed,
        champion=mean.champion.accuracy,
        candidate=mean.candidate.accuracy,
        margin=margin,
        n=len(found),
        detail=f"fallen: {_listed(fallen)}" if fallen else "mean over categories; none fell by more than the margin",
    )


def _macro_f1(results: Sequence[Graded]) -> GateCheck:
    name = "regression macro F1"
    found = categories(results)
    if not found:
        return GateCheck(name=name, passed=True, detail="no data")
    mean = over_all(found)
    changed = [f"{one.name} from {one.champion.f1:.2f} to {one.candidate.f1:.2f}" for one in found if one.champion.f1 != one.candidate.f1]
    detail = f"mean over categories, reported only; {f'changed: {_listed(changed)}' if changed else 'every category as before'}"
    return GateCheck(name=name, passed=True, champion=mean.champion.f1, candidate=mean.candidate.f1, n=len(found), detail=detail)


def _by_category(results: Sequence[Graded]) -> dict[str, list[Graded]]:
    def category(result: Graded) -> str:
        return result.question.category or result.question.policy

    return {name: list(group) for name, group in groupby(sorted(results, key=category), key=category)}


def _listed(names: Sequence[str] | dict[str, None]) -> str:
    shown = list(names)
    more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
    return ", ".join(shown[:_NAMED]) + more
