"""The regression suite: questions that the champion answers and that a candidate must not forget. Pure; grades in, checks out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from csqa_loop.domain.comparing import at_least_one_item, bounded, share_check
from csqa_loop.domain.events import GateCheck
from csqa_loop.domain.scenario import Grade, Probe

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


@dataclass(frozen=True)
class CategoryShare:
    """Share of right answers in one category."""

    answers: int
    champion: float
    candidate: float


def category_shares(results: Sequence[Graded]) -> dict[str, CategoryShare]:
    """Category -> how much of it both answer right, by name."""
    return {
        name: CategoryShare(len(group), _share([one.champion for one in group]), _share([one.candidate for one in group]))
        for name, group in _by_category(results).items()
    }


def regression_checks(results: Sequence[Graded], margin: float) -> tuple[GateCheck, ...]:
    """Over all questions, over those that none may be lost of, and category by category; macro F1 is reported and fails nothing."""
    return (_all(results, margin), _zero_tolerance(results), _categories(results, margin), _macro_f1(results))


def f1(grades: Sequence[Grade]) -> float:
    """F1 of the statements in some answers.

    A right answer is a true positive, one that holds a forbidden phrase a false positive and one that lacks an expected phrase a false
    negative; an answer that does both is both, as a wrong class is in classification.
    """
    right = sum(grade.right for grade in grades)
    wrong = sum(grade.forbidden for grade in grades) + sum(not grade.expected for grade in grades)
    return 2 * right / (2 * right + wrong)


def _all(results: Sequence[Graded], margin: float) -> GateCheck:
    before, after = [result.champion.right for result in results], [result.candidate.right for result in results]
    check = share_check("regression questions", before, after, margin, "questions")
    return bounded(check, before, after, [result.question.id for result in results])


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
    shares = category_shares(results)
    if not shares:
        return GateCheck(name=name, passed=True, margin=margin, detail="no data")
    fallen, failed = [], False
    for category, share in shares.items():
        if share.champion - share.candidate > at_least_one_item(margin, share.answers) + 1e-9:
            enough = share.answers >= ENOUGH_IN_CATEGORY
            failed = failed or enough
            few = "" if enough else ", too few to decide"
            fallen.append(f"{category} from {share.champion:.2f} to {share.candidate:.2f} ({share.answers} answers{few})")
    return GateCheck(
        name=name,
        passed=not failed,
        champion=sum(share.champion for share in shares.values()) / len(shares),
        candidate=sum(share.candidate for share in shares.values()) / len(shares),
        margin=margin,
        n=len(shares),
        detail=f"fallen: {_listed(fallen)}" if fallen else "mean over categories; none fell by more than the margin",
    )


def _macro_f1(results: Sequence[Graded]) -> GateCheck:
    name = "regression macro F1"
    groups = _by_category(results).values()
    if not groups:
        return GateCheck(name=name, passed=True, detail="no data")
    before = sum(f1([result.champion for result in group]) for group in groups) / len(groups)
    after = sum(f1([result.candidate for result in group]) for group in groups) / len(groups)
    return GateCheck(name=name, passed=True, champion=before, candidate=after, n=len(groups), detail="mean over categories; reported only")


def _by_category(results: Sequence[Graded]) -> dict[str, list[Graded]]:
    def category(result: Graded) -> str:
        return result.question.category or result.question.policy

    return {name: list(group) for name, group in groupby(sorted(results, key=category), key=category)}


def _share(grades: Sequence[Grade]) -> float:
    return sum(grade.right for grade in grades) / len(grades)


def _listed(names: Sequence[str] | dict[str, None]) -> str:
    shown = list(names)
    more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
    return ", ".join(shown[:_NAMED]) + more
