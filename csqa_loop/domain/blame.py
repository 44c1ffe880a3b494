"""Why an answer was bad: what the model wrote, what it was given to read, or what the company has written down.

Only the first can be trained away. Judged by support: how much of a text a passage says, by idf-weighted overlap of its words (Chinese:
character pairs), and whether it states all of its numbers. Lexical on purpose: the same events must give the same blame on any machine.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Literal

import numpy as np

from csqa_loop.domain.numbers import numbers_in

_SUPPORTED = 0.35
"""Overlap from which a passage that states all numbers of a text counts as its source."""
_CLEARLY_BETTER = 0.10
"""By how much another passage must say more than the prompt before retrieval is blamed."""
_SAME_MATTER = 0.50
"""Overlap from which a passage is about the same rule, though it states other numbers."""
_ON_SUBJECT = 0.20
"""Below this overlap with every passage, a question is about something no policy covers."""
_WORD = re.compile(r"[a-z][a-z']+|[\u4e00-\u9fff]+")
_STOP = frozenset(
    re.findall(
        r"\w+",
        """a an and any are as at be been but by can do does for from had has have how i if in into is it its may me must my no not of on or our
        shall she so than that the their them then there they this to up us was we what when which who will with would you your please only after
        before""",
    )
)


class Fault(StrEnum):
    """Where a bad answer came from."""

    GENERATION = "generation"
    """It was in the prompt, and the answer is still wrong."""
    RETRIEVAL_MISS = "retrieval_miss"
    """A policy that was current says it, and the prompt did not hold it."""
    STALE_POLICY = "stale_policy"
    """A policy on the matter says something else: the prompt quoted an old version, or the policy itself is out of date."""
    MISSING_POLICY = "missing_policy"
    """No policy says it."""
    NOT_THE_MODEL = "not_the_model"
    """A cache, a tool or a refusal answered, not the model."""


@dataclass(frozen=True, slots=True)
class PolicyPassage:
    """One passage of a policy version that was current."""

    policy_id: str
    version: str
    section: str
    text: str
    category: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """A bad answer, as far as blame needs it."""

    question: str
    answer: str
    better: str
    """What should have been said; empty where nobody knows."""
    reason: str
    """The bad case's reason, or `thumb`."""
    source: str
    """Of the answer: `model`, `cache`, `tool` or `refusal`."""
    prompt: str
    """What the model was given to read: its system messages."""
    quoted: tuple[tuple[str, str], ...] = ()
    """(policy_id, version) of what the prompt held, best first."""


@dataclass(frozen=True, slots=True)
class Blame:
    """The fault with its evidence. `policy_id`, `section` and `category` are of the nearest passage; empty where nothing is near."""

    fault: Fault
    basis: Literal["correction", "question", "source", "no policy is known"]
    detail: str
    policy_id: str = ""
    version: str = ""
    section: str = ""
    category: str = ""
    prompt_support: float = 0.0
    """Overlap of the judged text with the prompt, from 0 to 1."""
    best_support: float = 0.0
    """Overlap with the best current passage that the prompt did not hold."""
    missing_numbers: tuple[str, ...] = ()
    """Numbers of the correction that the prompt does not state."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """A passage and its overlap with the judged text."""

    passage: PolicyPassage
    overlap: float


class Corpus:
    """The passages of all policies that were current at one moment."""

    def __init__(self, passages: Iterable[PolicyPassage]) -> None:
        self.passages = tuple(passages)
        having: dict[str, list[int]] = {}
        for place, passage in enumerate(self.passages):
            for term in _terms(passage.text):
                having.setdefault(term, []).append(place)
        self._having = {term: np.array(places) for term, places in having.items()}
        self._weights = {term: self._weight(len(places)) for term, places in having.items()}

    def overlap(self, terms: frozenset[str], other: frozenset[str]) -> float:
        """Share of the idf of `terms` that `other` holds."""
        total = math.fsum(map(self._idf, terms))
        return math.fsum(map(self._idf, terms & other)) / total if total else 0.0

    def nearest(self, terms: frozenset[str]) -> Iterator[Nearest]:
        """Passages that share a term with the text, the nearest first; ties in the order of the corpus."""
        scores = np.zeros(len(self.passages))
        for term in sorted(terms & self._having.keys()):
            scores[self._having[term]] += self._idf(term)
        total = math.fsum(map(self._idf, terms)) or 1.0
        # Hardly ever are more than three looked at: sorting all of them would cost more than finding the next one.
        while scores.any():
            place = int(scores.argmax())
            yield Nearest(self.passages[place], float(scores[place]) / total)
            scores[place] = 0.0

    def _idf(self, term: str) -> float:
        return self._weights.get(term) or self._weight(0)

    def _weight(self, passages: int) -> float:
        return math.log(1 + (len(self.passages) + 1) / (passages + 1))


def blame(case: Case, corpus: Corpus) -> Blame:
    """Whose fault a bad answer is, given what was current when it was reported."""
    if case.source not in {"model", "refusal"}:
        return Blame(Fault.NOT_THE_MODEL, "source", f"the answer came from a {case.source}")
    if not corpus.passages:
        fault = Fault.GENERATION if case.source == "model" else Fault.MISSING_POLICY
        return Blame(fault, "no policy is known", "no policy was published here, so only the model can be looked at")
    return _by_correction(case, corpus) if case.better.strip() else _by_question(case, corpus)


def _by_correction(case: Case, corpus: Corpus) -> Blame:
    terms = _terms(case.better) or _terms(case.question)
    numbers = _numbers(case.better) - _numbers(case.question)
    missing = tuple(sorted(numbers - _numbers(case.prompt)))
    said = corpus.overlap(terms, _terms(case.prompt))
    overall, outside, source = _search(corpus, terms, numbers, case.prompt)
    told = _Told(case, "correction", said, outside.overlap if outside else 0.0, missing)
    if not missing and said >= _SUPPORTED:
        return told.generation(overall, "the prompt says it, the answer does not")
    if source and source.overlap >= said + (0.0 if missing else _CLEARLY_BETTER):
        return told.knowledge(source)
    if not missing and said >= told.best_support:
        return told.generation(overall, "nothing in the policies says more about it than the prompt did")
    if case.reason in {"tone", "unsafe"} and _numbers(case.answer).issuperset(missing):
        return told.generation(overall, f"the fault is in how it was said ({case.reason})")
    if overall and overall.overlap >= _SAME_MATTER:
        where = f"{overall.passage.policy_id}, {overall.passage.section!r}"
        return told.of(Fault.STALE_POLICY, overall, f"{where}, is about it and does not state {', '.join(missing) or 'this'}")
    wanted = f"no current policy states {', '.join(missing)} on this matter" if missing else "no current policy says this"
    return told.of(Fault.MISSING_POLICY, overall, wanted)


def _by_question(case: Case, corpus: Corpus) -> Blame:
    terms = _terms(case.question)
    said = corpus.overlap(terms, _terms(case.prompt))
    overall, outside, _ = _search(corpus, terms, frozenset(), case.prompt)
    told = _Told(case, "question", said, outside.overlap if outside else 0.0, ())
    if max(said, told.best_support) < _ON_SUBJECT:
        return told.of(Fault.MISSING_POLICY, overall, "no current policy is about this question")
    if outside and outside.overlap > said + _CLEARLY_BETTER:
        return told.knowledge(outside)
    return told.generation(overall, "no passage is nearer to the question than what the prompt held")


def _search(
    corpus: Corpus, terms: frozenset[str], numbers: frozenset[str], prompt: str
) -> tuple[Nearest | None, Nearest | None, Nearest | None]:
    """The nearest passage of all, the nearest that the prompt did not hold, and the nearest of those that can be the text's source."""
    overall: Nearest | None = None
    outside: Nearest | None = None
    for found in corpus.nearest(terms):
        overall = overall or found
        if _body(found.passage.text) in prompt:
            continue
        outside = outside or found
        if found.overlap < _SUPPORTED:
            return overall, outside, None
        if numbers <= _numbers(found.passage.text):
            return overall, outside, found
    return overall, outside, None


@dataclass(frozen=True, slots=True)
class _Told:
    """Verdicts of one case share their evidence."""

    case: Case
    basis: Literal["correction", "question"]
    prompt_support: float
    best_support: float
    missing: tuple[str, ...]

    def of(self, fault: Fault, nearest: Nearest | None, detail: str) -> Blame:
        place = nearest.passage if nearest else PolicyPassage("", "", "", "")
        return Blame(
            fault, self.basis, detail, place.policy_id, place.version, place.section, place.category,
            round(self.prompt_support, 4), round(self.best_support, 4), self.missing,
        )  # fmt: skip

    def generation(self, nearest: Nearest | None, detail: str) -> Blame:
        """The prompt held what was needed: the model's fault, unless it was never asked."""
        quoted = nearest if nearest and nearest.passage.policy_id in {policy_id for policy_id, _ in self.case.quoted} else None
        if self.case.source == "refusal":
            return self.of(Fault.NOT_THE_MODEL, quoted, "the system refused to answer, though the prompt held it")
        return self.of(Fault.GENERATION, quoted, detail)

    def knowledge(self, source: Nearest) -> Blame:
        """A current passage says it and the prompt did not hold it: another version of a quoted policy is stale, anything else was missed."""
        found = source.passage
        old = [version for policy_id, version in self.case.quoted if policy_id == found.policy_id and version != found.version]
        if old:
            return self.of(Fault.STALE_POLICY, source, f"answered from {found.policy_id} {old[0]}; {found.version} was current")
        return self.of(Fault.RETRIEVAL_MISS, source, f"{found.policy_id}, {found.section!r}, says it and was not retrieved")


def _body(text: str) -> str:
    """Without its heading line: a prompt may show a passage under another heading."""
    _, separator, body = text.partition("\n")
    return body if separator else text


@lru_cache(maxsize=20_000)
def _terms(text: str) -> frozenset[str]:
    found: set[str] = set()
    for run in _WORD.findall(text.casefold()):
        if "\u4e00" <= run[0] <= "\u9fff":
            found.update(run[start : start + 2] for start in range(max(1, len(run) - 1)))
        elif run not in _STOP:
            found.add(_stem(run))
    return frozenset(found)


def _stem(word: str) -> str:
    """Crude, and enough to meet `returned` with `returns`."""
    for ending in ("'s", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


@lru_cache(maxsize=20_000)
def _numbers(text: str) -> frozenset[str]:
    return frozenset(numbers_in(text))
