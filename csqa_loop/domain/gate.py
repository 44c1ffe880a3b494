"""The offline gate: is the candidate no worse than the champion on what neither was trained on? Pure; counts in, checks out."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from csqa_loop.domain.comparing import bounded, share_check
from csqa_loop.domain.events import GateCheck
from csqa_loop.domain.text import normalised

EMPTY_MARGIN = 0.02
REPETITION_MARGIN = 0.05
LENGTH_FACTOR = 3.0
"""Answers may become this many times longer or shorter on average."""
_NGRAM = 4
_REPEATS = 3
_TOKEN = re.compile(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+")


@dataclass(frozen=True)
class PairScore:
    """Mean log-probability of a token of each answer of one held-out pair."""

    chosen: float
    rejected: float

    @property
    def correct(self) -> bool:
        """The better answer is the more probable one, token for token."""
        return self.chosen > self.rejected

    @property
    def margin(self) -> float:
        """Nats a token; infinite where one answer is empty."""
        return self.chosen - self.rejected


def preference_check(champion: Sequence[PairScore], candidate: Sequence[PairScore], margin: float, questions: Sequence[str]) -> GateCheck:
    """Share of held-out pairs whose better answer is the more probable one; `questions` names what each pair is about."""
    before, after = [s.correct for s in champion], [s.correct for s in candidate]
    check = share_check("preference accuracy", before, after, margin, "held-out pairs")
    return bounded(check, before, after, [normalised(question) for question in questions])


def margin_check(champion: Sequence[PairScore], candidate: Sequence[PairScore], margin: float, questions: Sequence[str]) -> GateCheck:
    """By how many nats a token the better answer is the more probable one, on average.

    An empty answer has no tokens: its pair counts for the accuracy and is left out here. Too few questions never fail the check.
    """
    name = "preference margin"
    pairs = [
        (before.margin, after.margin, normalised(question))
        for before, after, question in zip(champion, candidate, questions, strict=True)
        if math.isfinite(before.margin) and math.isfinite(after.margin)
    ]
    if not pairs:
        return GateCheck(name=name, passed=True, margin=margin, detail="no data")
    before, after, asked = (list(column) for column in zip(*pairs, strict=True))
    means = sum(before) / len(pairs), sum(after) / len(pairs)
    detail = "nats a token, mean over pairs"
    check = GateCheck(name=name, passed=True, champion=means[0], candidate=means[1], margin=margin, n=len(pairs), detail=detail)
    found = bounded(check, before, after, asked)
    return found.model_copy(update={"passed": found.lower is None or means[0] - means[1] <= margin})


def sanity_checks(champion: Sequence[str], candidate: Sequence[str]) -> tuple[GateCheck, ...]:
    """Whether the candidate still answers at all, without going round in circles, at a like length."""
    return (
        share_check(
            "answers not empty", [bool(a.strip()) for a in champion], [bool(a.strip()) for a in candidate], EMPTY_MARGIN, "answers"
        ),
        share_check(
            "answers without repetition",
            [not repeats(a) for a in champion],
            [not repeats(a) for a in candidate],
            REPETITION_MARGIN,
            "answers",
        ),
        _length_check(champion, candidate),
    )


def gate_off() -> GateCheck:
    """The one check of a gate that settings switched off."""
    return GateCheck(name="gate", passed=True, detail="switched off by gate.enabled = false: nothing was compared")


def verdict(checks: Sequence[GateCheck]) -> bool:
    """PASS when no check fails. Checks without data do not fail; the experiment decides then."""
    return all(check.passed for check in checks)


def repeats(text: str) -> bool:
    """Whether some run of four words (characters in Chinese) comes three times."""
    tokens = _TOKEN.findall(text.lower())
    runs = Counter(tuple(tokens[start : start + _NGRAM]) for start in range(len(tokens) - _NGRAM + 1))
    return any(count >= _REPEATS for count in runs.values())


def best_passages(question: str, passages: Sequence[str], count: int) -> tuple[str, ...]:
    """The `count` passages that share most words with the question, best first; rare words weigh more. Ties keep the document's order."""
    words = [set(_TOKEN.findall(passage.lower())) for passage in passages]
    in_how_many = Counter(word for found in words for word in found)
    asked = set(_TOKEN.findall(question.lower()))
    scores = [sum(1.0 / in_how_many[word] for word in asked & found) for found in words]
    order = sorted(range(len(passages)), key=lambda index: (-scores[index], index))
    return tuple(passages[index] for index in order[:count])


def _length_check(champion: Sequence[str], candidate: Sequence[str]) -> GateCheck:
    name = "answer length"
    if not champion or not candidate:
        return GateCheck(name=name, passed=True, margin=LENGTH_FACTOR, detail="no data")
    before = sum(map(len, champion)) / len(champion)
    after = sum(map(len, candidate)) / len(candidate)
    passed = after <= LENGTH_FACTOR * before and before <= LENGTH_FACTOR * after
    detail = f"mean characters; at most {LENGTH_FACTOR:g} times longer or shorter passes"
    return GateCheck(name=name, passed=passed, champion=before, candidate=after, margin=LENGTH_FACTOR, n=len(candidate), detail=detail)
