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
        """Whether the champion's answer is right and the candidate's wrong."""
        return self.champion.right and not self.candidate.right


def categories(results: Sequence[Graded]) -> tuple[Category, ...]:
    """All categories, in order of name."""
    return tuple(
        Category(name, len(group), Scores.of([result.champion for result in group]), Scores.of([result.candidate for result in group]))
        for name, group in _by_category(results).items()
    )


def over_all(categories: Sequence[Category]) -> Category:
    """The macro mean over categories, at least one."""
    return Category(
        "mean over categories",
        sum(category.answers for category in categories),
        Scores.mean([category.champion for category in categories]),
        Scores.mean([category.candidate for category in categories]),
    )


def regression_checks(results: Sequence[Graded], margin: float) -> tuple[GateCheck, ...]:
    """Over all questions, over those that none may be lost of, and category by category; macro F1 is reported and fails nothing."""
    return (_all(results, margin), _zero_tolerance(results), _categories(results, margin), _macro_f1(results))


def _all(results: Sequence[Graded], margin: float) -> GateCheck:
    before, after = [result.champion.right for result in results], [result.candidate.right for result in results]
    ids = [result.question.id for result in results]
    return share_check("regression questions", before, after, margin, "questions", ids, superiority=True)


def _zero_tolerance(results: Sequence[Graded]) -> GateCheck:
    name = "zero-tolerance questions"
    answered_right = [result for result in results if result.question.zero_tolerance and result.champion.right]
    if not answered_right:
        return GateCheck(name=name, passed=True, detail="no data")
    lost = [result.question.id for result in answered_right if result.lost]
    detail = f"lost: {_listed(dict.fromkeys(lost))}" if lost else "all that the champion answers right are still right"
    share_kept = 1 - len(lost) / len(answered_right)
    return GateCheck(name=name, passed=not lost, champion=1.0, candidate=share_kept, n=len(answered_right), detail=detail)


def _categories(results: Sequence[Graded], margin: float) -> GateCheck:
    name = "regression categories"
    all_categories = categories(results)
    if not all_categories:
        return GateCheck(name=name, passed=True, margin=margin, detail="no data")
    fallen, failed = [], False
    for category in all_categories:
        before, after = category.champion.accuracy, category.candidate.accuracy
        if before - after > at_least_one_item(margin, category.answers) + 1e-9:
            enough = category.answers >= ENOUGH_IN_CATEGORY
            failed = failed or enough
            few = "" if enough else ", too few to decide"
            fallen.append(f"{category.name} from {before:.2f} to {after:.2f} ({category.answers} answers{few})")
    mean = over_all(all_categories)
    return GateCheck(
        name=name,
        passed=not failed,
        champion=mean.champion.accuracy,
        candidate=mean.candidate.accuracy,
        margin=margin,
        n=len(all_categories),
        detail=f"fallen: {_listed(fallen)}" if fallen else "mean over categories; none fell by more than the margin",
    )


def _macro_f1(results: Sequence[Graded]) -> GateCheck:
    name = "regression macro F1"
    all_categories = categories(results)
    if not all_categories:
        return GateCheck(name=name, passed=True, detail="no data")
    mean = over_all(all_categories)
    changed = [
        f"{category.name} from {category.champion.f1:.2f} to {category.candidate.f1:.2f}"
        for category in all_categories
        if category.champion.f1 != category.candidate.f1
    ]
    detail = f"mean over categories, reported only; {f'changed: {_listed(changed)}' if changed else 'every category as before'}"
    return GateCheck(name=name, passed=True, champion=mean.champion.f1, candidate=mean.candidate.f1, n=len(all_categories), detail=detail)


def _by_category(results: Sequence[Graded]) -> dict[str, list[Graded]]:
    def category(result: Graded) -> str:
        return result.question.category or result.question.policy

    return {name: list(group) for name, group in groupby(sorted(results, key=category), key=category)}


def _listed(names: Sequence[str] | dict[str, None]) -> str:
    all_names = list(names)
    more = f" and {len(all_names) - _NAMED} more" if len(all_names) > _NAMED else ""
    return ", ".join(all_names[:_NAMED]) + more
