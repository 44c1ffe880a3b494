"""The offline gate: is the candidate no worse than the champion on what neither was trained on? Pure; counts in, checks out."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from csqa_loop.events import GateCheck
from csqa_loop.evidence.judge.rules.judging import Preferred
from csqa_loop.gate.rules.comparing import bounded, enough, no_worse, share_check
from csqa_loop.text.languages import language_of
from csqa_loop.text.normal import normalised

EMPTY_MARGIN = 0.02
REPETITION_MARGIN = 0.05
LANGUAGE_MARGIN = 0.05
REFUSAL_MARGIN = 0.10
LENGTH_FACTOR = 3.0
"""Answers may become this many times longer or shorter on average."""
PERPLEXITY_FACTOR = 2.0
"""Better answers may become this many times as surprising. Preference training moves all answers; this stops one that destroys the model's language."""
DISASTROUS_NATS, DISASTROUS_FACTOR = 3.0, 8.0
"""With too few questions for a bound a mean says little: only what chance does not explain fails, a margin that lost three nats a token, or better
answers that are eight times as surprising."""
_NEWEST = ", newest pairs"
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
    """Tokens of the better answer."""

    @property
    def correct(self) -> bool:
        """Whether the better answer is the more probable one, token for token."""
        return self.chosen > self.rejected

    @property
    def margin(self) -> float:
        """Nats a token; no number where an answer is empty."""
        return self.chosen - self.rejected

    @property
    def scored(self) -> bool:
        """Whether both answers have tokens."""
        return math.isfinite(self.margin)


def preference_check(
    champion: Sequence[PairScore], candidate: Sequence[PairScore], margin: float, questions: Sequence[str], *, newest: bool = False
) -> GateCheck:
    """Share of held-out pairs whose better answer is the more probable one; `questions` names what each pair is about.

    Superiority is judged by the questions that are held out for good alone; `newest` pairs tell whether the candidate keeps up.
    """
    return share_check(
        "preference accuracy" + (_NEWEST if newest else ""),
        [s.correct for s in champion],
        [s.correct for s in candidate],
        margin,
        "held-out pairs",
        [normalised(question) for question in questions],
        superiority=not newest,
    )


def margin_check(
    champion: Sequence[PairScore], candidate: Sequence[PairScore], margin: float, questions: Sequence[str], *, newest: bool = False
) -> GateCheck:
    """By how many nats a token the better answer is the more probable one, on average.

    An empty answer has no tokens: its pair counts for the accuracy and is left out here. Too few questions fail it only by a disaster.
    """
    name = "preference margin" + (_NEWEST if newest else "")
    pairs = [
        (before.margin, after.margin, normalised(question))
        for before, after, question in zip(champion, candidate, questions, strict=True)
        if before.scored and after.scored
    ]
    if not pairs:
        return GateCheck(name=name, passed=True, margin=margin, detail="no data")
    before, after, scored_questions = (list(column) for column in zip(*pairs, strict=True))
    means = sum(before) / len(pairs), sum(after) / len(pairs)
    detail = "nats a token, mean over pairs"
    check = GateCheck(name=name, passed=True, champion=means[0], candidate=means[1], margin=margin, n=len(pairs), detail=detail)
    if not newest:
        check = bounded(check, before, after, scored_questions)
    return no_worse(check, before, after, scored_questions, margin=margin, few=max(margin, DISASTROUS_NATS))


def perplexity_check(champion: Sequence[PairScore], candidate: Sequence[PairScore], questions: Sequence[str]) -> GateCheck:
    """Perplexity of the held-out better answers: exp of minus the mean log-probability a token. Too few questions fail it only by a disaster.

    What is compared are nats a token, weighted by tokens: their difference is the logarithm of the perplexities' ratio.
    """
    name = "perplexity of better answers"
    scored = [
        (before, after, normalised(question))
        for before, after, question in zip(champion, candidate, questions, strict=True)
        if math.isfinite(before.chosen + after.chosen)
    ]
    if not scored:
        return GateCheck(name=name, passed=True, margin=PERPLEXITY_FACTOR, detail="no data")
    sides = [pair[0] for pair in scored], [pair[1] for pair in scored]
    scored_questions = [pair[2] for pair in scored]
    factor = PERPLEXITY_FACTOR if enough(scored_questions) else DISASTROUS_FACTOR
    check = GateCheck(
        name=name,
        passed=True,
        champion=math.exp(min(_surprise(sides[0]), _MOST_NATS)),
        candidate=math.exp(min(_surprise(sides[1]), _MOST_NATS)),
        margin=factor,
        n=len(scored),
        detail=f"at most {factor:g} times the champion's passes" + ("" if enough(scored_questions) else ", as the questions are few"),
    )
    bounded_check = no_worse(
        check,
        [score.chosen for score in sides[0]],
        [score.chosen for score in sides[1]],
        scored_questions,
        margin=math.log(PERPLEXITY_FACTOR),
        few=math.log(DISASTROUS_FACTOR),
        weights=[float(score.tokens) for score in sides[0]],
    )
    if bounded_check.floor is None:
        return bounded_check
    bound = f"at 95 % it is at most {math.exp(min(-bounded_check.floor, _MOST_NATS)):.3g} times the champion's"
    # A bound in nats beside perplexities would be misread.
    return bounded_check.model_copy(update={"floor": None, "detail": f"{check.detail}; {bound}"})


def sanity_checks(champion: Sequence[str], candidate: Sequence[str], questions: Sequence[str]) -> tuple[GateCheck, ...]:
    """Whether the candidate still answers at all: in the customer's language, without refusing or going in circles, at a like length."""

    def share(name: str, holds: Callable[[str, str], bool], margin: float) -> GateCheck:
        before, after = ([holds(q, a) for q, a in zip(questions, answers, strict=True)] for answers in (champion, candidate))
        return share_check(name, before, after, margin, "answers", [normalised(question) for question in questions])

    return (
        share("answers not empty", lambda _, answer: bool(answer.strip()), EMPTY_MARGIN),
        share("answers without repetition", lambda _, answer: not repeats(answer), REPETITION_MARGIN),
        share("answers in the question's language", in_language_of, LANGUAGE_MARGIN),
        share("answers without refusal", lambda _, answer: not refuses(answer), REFUSAL_MARGIN),
        _length_check(champion, candidate),
    )


def win_check(name: str, winners: Sequence[Preferred], judge: str) -> GateCheck:
    """How often a judge prefers the candidate, B, to the champion, A; one verdict a question. Fails where it prefers A beyond chance."""
    if not winners:
        return GateCheck(name=name, passed=True, detail="no data")
    before, after = [float(winner == "A") for winner in winners], [float(winner == "B") for winner in winners]
    ties = winners.count("tie")
    detail = f"share of questions that {judge} prefers it for in both orders; {ties} of {len(winners)} are ties"
    check = GateCheck(
        name=name, passed=True, champion=sum(before) / len(winners), candidate=sum(after) / len(winners), n=len(winners), detail=detail
    )
    bounded_check = bounded(check, before, after, [str(number) for number in range(len(winners))])
    return bounded_check.model_copy(update={"passed": bounded_check.upper is None or bounded_check.upper >= 0})


def superiority_check(checks: Sequence[GateCheck], *, required: bool) -> GateCheck:
    """Whether the candidate is better somewhere: some check's lower bound is above zero. Fails where that is required and not shown."""
    better = [check.name for check in checks if check.lower is not None and check.lower > 0]
    if better:
        finding = f"better beyond chance in {', '.join(better)}"
    elif any(check.lower is not None for check in checks):
        finding = "nowhere better beyond chance"
    else:
        finding = "too few questions to decide anywhere"
    rule = "required by gate.require_superiority" if required else "not required (gate.require_superiority is false)"
    return GateCheck(name="superiority", passed=bool(better) or not required, detail=f"{finding}; {rule}")


def gate_off() -> GateCheck:
    """The one check of a gate that settings switched off."""
    return GateCheck(name="gate", passed=True, detail="switched off by gate.enabled = false: nothing was compared")


def verdict(checks: Sequence[GateCheck]) -> bool:
    """PASS when no check fails: no worse everywhere, and better somewhere if `superiority_check` requires it.

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
    question_language, answer_language = language_of(question, ""), language_of(answer, "")
    return not question_language or not answer_language or question_language == answer_language


def refuses(text: str) -> bool:
    """Whether an answer says that it cannot answer, in English or Chinese."""
    return _REFUSAL.search(" ".join(text.casefold().replace("’", "'").split())) is not None


def best_passages(question: str, passages: Sequence[str], count: int) -> tuple[str, ...]:
    """The `count` passages that share most words with the question, best first; rare words weigh more. Ties keep the document's order."""
    words = [set(_TOKEN.findall(passage.lower())) for passage in passages]
    in_how_many = Counter(word for passage_words in words for word in passage_words)
    question_words = set(_TOKEN.findall(question.lower()))
    scores = [sum(1.0 / in_how_many[word] for word in question_words & passage_words) for passage_words in words]
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
