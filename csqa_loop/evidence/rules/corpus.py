"""The policies that were current at one moment, and how much of a text they say: by idf-weighted overlap of its words (Chinese: character
pairs) and by the numbers it states. Lexical on purpose: the same events must give the same on any machine.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

from csqa_loop.knowledge.rules.passages import PolicyPassage
from csqa_loop.text.numbers import numbers_in

_WORD = re.compile(r"[a-z][a-z']+|[\u4e00-\u9fff]+")
_STOP = frozenset(
    re.findall(
        r"\w+",
        """a an and any are as at be been but by can do does for from had has have how i if in into is it its may me must my no not of on or our
        shall she so than that the their them then there they this to up us was we what when which who will with would you your please only after
        before""",
    )
)


@dataclass(frozen=True, slots=True)
class Nearest:
    """A passage and its overlap with the judged text."""

    passage: PolicyPassage
    overlap: float


class Corpus:
    """The passages of all policies that were current at one moment."""

    def __init__(self, passages: Iterable[PolicyPassage]) -> None:
        self.passages = tuple(passages)
        self._having = _places(terms_in(passage.text) for passage in self.passages)
        self._stating = _places(stated_in(passage.text) for passage in self.passages)
        self._weights = {term: self._weight(len(places)) for term, places in self._having.items()}

    def overlap(self, terms: frozenset[str], text_terms: frozenset[str]) -> float:
        """Share of the idf of `terms` that `text_terms` holds."""
        total = math.fsum(map(self._idf, terms))
        return math.fsum(map(self._idf, terms & text_terms)) / total if total else 0.0

    def nearest(self, terms: frozenset[str], *, stating: frozenset[str] = frozenset()) -> Iterator[Nearest]:
        """Passages that share a term with the text and state all of these numbers, the nearest first; ties in the order of the corpus."""
        if not stating <= self._stating.keys():
            return
        scores = np.zeros(len(self.passages))
        for term in sorted(terms & self._having.keys()):
            scores[self._having[term]] += self._idf(term)
        if stating:
            places = reduce(np.intersect1d, (self._stating[number] for number in stating))
            some = np.zeros_like(scores)
            some[places] = scores[places]
            scores = some
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


def _places(sets: Iterable[frozenset[str]]) -> dict[str, NDArray[np.intp]]:
    """Each name in `sets` -> the places of the sets that hold it, ascending."""
    having: dict[str, list[int]] = {}
    for place, names in enumerate(sets):
        for name in names:
            having.setdefault(name, []).append(place)
    return {name: np.array(places) for name, places in having.items()}


def body_of(text: str) -> str:
    """A passage without its heading line: a prompt may show a passage under another heading."""
    _, separator, body = text.partition("\n")
    return body if separator else text


@lru_cache(maxsize=20_000)
def terms_in(text: str) -> frozenset[str]:
    """The words of a text that mean something, cut to their stems."""
    return frozenset().union(*map(_terms_of, text.split("\n\n")))


@lru_cache(maxsize=20_000)  # thousands of prompts hold the same passages
def _terms_of(text: str) -> frozenset[str]:
    terms: set[str] = set()
    for run in _WORD.findall(text.casefold()):
        if "\u4e00" <= run[0] <= "\u9fff":
            terms.update(run[start : start + 2] for start in range(max(1, len(run) - 1)))
        elif run not in _STOP:
            terms.add(_stem(run))
    return frozenset(terms)


def _stem(word: str) -> str:
    """A crude stem: `returned` and `returns` have the same."""
    for ending in ("'s", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


@lru_cache(maxsize=20_000)
def stated_in(text: str) -> frozenset[str]:
    """The numbers of a text."""
    return frozenset(numbers_in(text))
