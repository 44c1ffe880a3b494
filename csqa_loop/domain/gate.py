"""The offline gate: is the candidate no worse than the champion on what neither was trained on? Pure; counts in, checks out."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from csqa_loop.domain.comparing import ENOUGH_QUESTIONS, bounded, share_check
from csqa_loop.domain.events import GateCheck
from csqa_loop.domain.judging import Verdict
from csqa_loop.domain.prompt import language_of
from csqa_loop.domain.text import normalised

EMPTY_MARGIN = 0.02
REPETITION_MARGIN = 0.05
LANGUAGE_MARGIN = 0.05
REFUSAL_MARGIN = 0.10
LENGTH_FACTOR = 3.0
"""Answers may become this many times longer or shorter on average."""
PERPLEXITY_FACTOR = 2.0
"""Better answers may become this many times as surprising. Preference training moves all answers; this stops one that unlearns to speak."""
_MOST_NATS = 700.0
"""Beyond it a float overflows."""
_NGRAM = 4
_REPEATS = 3
# "We cannot provide refunds after 45 days" is an answer: what cannot be done for the customer is left out.
_REFUSAL = re.compile(
    r"\b(?:i|we) ?(?:cannot|can't|could not|couldn't|(?:am|'m|are|'re) unable to) (?:help|assist|answer|say|tell)\b"
    r"|\b(?:i|we) (?:do not|don't) (?:know|have (?:any |that |this |the )?(?:information|answer))\b"
    r"|\bas an ai\b"
    r"|(?:我|我们)(?:无法|不能|没法|没有办法)(?:回答|帮助|协助|告诉|确定)|我(?:们)?不(?:知道|清楚|了解)|作为(?:一个|一名)?(?:ai|人工智能)"
)
_TOKEN = re.compile(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+")


@dataclass(frozen=True)
class PairScore:
    """Mean log-probability of a token of each answer of one held-out pair."""

    chosen: float
    rejected: float
    tokens: int = 1
    """Of the better answer."""

    @property
    def correct(self) -> bool:
        """The better answer is the more probable one, token for token."""
        return self.chosen > self.rejected

    @property
    def margin(self) -> float:
        """Nats a token; no number where an answer is empty."""
        return self.chosen - self.rejected

    @property
    def scored(self) -> bool:
        """Both answers have tokens."""
        return math.isfinite(self.margin)


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
        if before.scored and after.scored
    ]
    if not pairs:
        return GateCheck(name=name, passed=True, margin=margin, detail="no data")
    before, after, asked = (list(column) for column in zip(*pairs, strict=True))
    means = sum(before) / len(pairs), sum(after) / len(pairs)
    detail = "nats a token, mean over pairs"
    check = GateCheck(name=name, passed=True, champion=means[0], candidate=means[1], margin=margin, n=len(pairs), detail=detail)
    found = bounded(check, before, after, asked)
    return found.model_copy(update={"passed": found.lower is None or means[0] - means[1] <= margin})


def perplexity_check(champion: Sequence[PairScore], candidate: Sequence[PairScore], questions: Sequence[str]) -> GateCheck:
    """Perplexity of the held-out better answers: exp of minus the mean log-probability a token. Too few questions never fail the check."""
    name = "perplexity of better answers"
    scored = [(before, after) for before, after in zip(champion, candidate, strict=True) if math.isfinite(before.chosen + after.chosen)]
    if not scored:
        return GateCheck(name=name, passed=True, margin=PERPLEXITY_FACTOR, detail="no data")
    before, after = _surprise([pair[0] for pair in scored]), _surprise([pair[1] for pair in scored])
    enough = len({normalised(question) for question in questions}) >= ENOUGH_QUESTIONS
    detail = f"at most {PERPLEXITY_FACTOR:g} times the champion's passes" + ("" if enough else "; too few questions to decide")
    return GateCheck(
        name=name,
        passed=not enough or after - before <= math.log(PERPLEXITY_FACTOR),
        champion=math.exp(min(before, _MOST_NATS)),
        candidate=math.exp(min(after, _MOST_NATS)),
        margin=PERPLEXITY_FACTOR,
        n=len(scored),
        detail=detail,
    )


def sanity_checks(champion: Sequence[str], candidate: Sequence[str], questions: Sequence[str]) -> tuple[GateCheck, ...]:
    """Whether the candidate still answers at all: in the customer's language, without refusing or going in circles, at a like length."""
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
        share_check(
            "answers in the question's language",
            [in_language_of(q, a) for q, a in zip(questions, champion, strict=True)],
            [in_language_of(q, a) for q, a in zip(questions, candidate, strict=True)],
            LANGUAGE_MARGIN,
            "answers",
        ),
        share_check(
            "answers without refusal", [not refuses(a) for a in champion], [not refuses(a) for a in candidate], REFUSAL_MARGIN, "answers"
        ),
        _length_check(champion, candidate),
    )


def win_check(name: str, winners: Sequence[Verdict], judge: str) -> GateCheck:
    """How often a judge prefers the candidate, B, to the champion, A; one verdict a question. Fails where it prefers A beyond chance."""
    if not winners:
        return GateCheck(name=name, passed=True, detail="no data")
    before, after = [float(winner == "A") for winner in winners], [float(winner == "B") for winner in winners]
    ties = winners.count("tie")
    detail = f"share of questions that {judge} prefers it for in both orders; {ties} of {len(winners)} are ties"
    check = GateCheck(
        name=name, passed=True, champion=sum(before) / len(winners), candidate=sum(after) / len(winners), n=len(winners), detail=detail
    )
    found = bounded(check, before, after, [str(number) for number in range(len(winners))])
    return found.model_copy(update={"passed": found.upper is None or found.upper >= 0})


def superiority_check(checks: Sequence[GateCheck], *, required: bool) -> GateCheck:
    """Whether the candidate is better somewhere: some check's lower bound is above zero. Fails where that is required and not shown."""
    better = [check.name for check in checks if check.lower is not None and check.lower > 0]
    if better:
        found = f"better beyond chance in {', '.join(better)}"
    elif any(check.lower is not None for check in checks):
        found = "nowhere better beyond chance"
    else:
        found = "too few questions to decide anywhere"
    rule = "required by gate.require_superiority" if required else "not required (gate.require_superiority is false)"
    return GateCheck(name="superiority", passed=bool(better) or not required, detail=f"{found}; {rule}")


def gate_off() -> GateCheck:
    """The one check of a gate that settings switched off."""
    return GateCheck(name="gate", passed=True, detail="switched off by gate.enabled = false: nothing was compared")


def verdict(checks: Sequence[GateCheck]) -> bool:
    """PASS when no check fails: nowhere worse by more than a margin, and better somewhere if `superiority_check` requires it.

    Checks without data do not fail; the experiment decides then.
    """
    return all(check.passed for check in checks)


def repeats(text: str) -> bool:
    """Whether some run of four words (characters in Chinese) comes three times."""
    tokens = _TOKEN.findall(text.lower())
    runs = Counter(tuple(tokens[start : start + _NGRAM]) for start in range(len(tokens) - _NGRAM + 1))
    return any(count >= _REPEATS for count in runs.values())


def in_language_of(question: str, answer: str) -> bool:
    """Whether nothing speaks against it: digits alone are in any language."""
    asked, answered = language_of(question, ""), language_of(answer, "")
    return not asked or not answered or asked == answered


def refuses(text: str) -> bool:
    """Whether an answer says that it cannot answer, in English or Chinese."""
    return _REFUSAL.search(" ".join(text.casefold().replace("’", "'").split())) is not None


def best_passages(question: str, passages: Sequence[str], count: int) -> tuple[str, ...]:
    """The `count` passages that share most words with the question, best first; rare words weigh more. Ties keep the document's order."""
    words = [set(_TOKEN.findall(passage.lower())) for passage in passages]
    in_how_many = Counter(word for found in words for word in found)
    asked = set(_TOKEN.findall(question.lower()))
    scores = [sum(1.0 / in_how_many[word] for word in asked & found) for found in words]
    order = sorted(range(len(passages)), key=lambda index: (-scores[index], index))
    return tuple(passages[index] for index in order[:count])


def _surprise(scores: Sequence[PairScore]) -> float:
    """Mean nats a token of the better answers."""
    return -sum(score.chosen * score.tokens for score in scores) / sum(score.tokens for score in scores)


def _length_check(champion: Sequence[str], candidate: Sequence[str]) -> GateCheck:
    name = "answer length"
    if not champion or not candidate:
        return GateCheck(name=name, passed=True, margin=LENGTH_FACTOR, detail="no data")
    before = sum(map(len, champion)) / len(champion)
    after = sum(map(len, candidate)) / len(candidate)
    passed = after <= LENGTH_FACTOR * before and before <= LENGTH_FACTOR * after
    detail = f"mean characters; at most {LENGTH_FACTOR:g} times longer or shorter passes"
    return GateCheck(name=name, passed=passed, champion=before, candidate=after, margin=LENGTH_FACTOR, n=len(candidate), detail=detail)
