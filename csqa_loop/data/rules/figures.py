"""How long, how varied: figures over many texts, kept in a few bytes a text."""

import re
from array import array
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

_WORD = re.compile(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_TOKENS_A_HAN_CHARACTER = 0.7
_CHARACTERS_A_TOKEN = 4.0
_WINDOW = 1000
DIVERSITY_TEXTS = 10_000
"""Diversity is measured on the first texts only: the set of word pairs would otherwise grow with the file."""


def estimated_tokens(text: str) -> int:
    """About what a tokeniser of a bilingual model gives: 0.7 a Han character, 1 for 4 others. At least 1."""
    han = len(_HAN.findall(text))
    return max(1, round(han * _TOKENS_A_HAN_CHARACTER + (len(text) - han) / _CHARACTERS_A_TOKEN))


def words(text: str) -> list[str]:
    """Words, case folded; each Han character is one."""
    return _WORD.findall(text.casefold())


@dataclass(slots=True)
class Lengths:
    """Lengths of many texts, 4 bytes each."""

    values: "array[int]" = field(default_factory=lambda: array("I"))

    def add(self, length: int) -> None:
        """One more text."""
        self.values.append(length)

    def summary(self) -> dict[str, float]:
        """mean, p50, p95 and max by nearest rank; nothing where there is no text."""
        if not self.values:
            return {}
        ordered = sorted(self.values)
        return {
            "mean": round(sum(ordered) / len(ordered), 1),
            "p50": ordered[(len(ordered) - 1) // 2],
            "p95": ordered[-(-len(ordered) * 95 // 100) - 1],
            "max": ordered[-1],
        }


@dataclass(slots=True)
class Diversity:
    """Distinct-1 and distinct-2 (Li et al. 2016, "A diversity-promoting objective function") and the type-token ratio of windows."""

    texts: int = 0
    _words: int = 0
    _pairs: int = 0
    _known_words: set[str] = field(default_factory=set)
    _known_pairs: set[tuple[str, str]] = field(default_factory=set)
    _window: list[str] = field(default_factory=list)
    _ratios: list[float] = field(default_factory=list)

    def add(self, text: str) -> None:
        """One more text; the first `DIVERSITY_TEXTS` count."""
        if self.texts >= DIVERSITY_TEXTS:
            return
        self.texts += 1
        found = words(text)
        self._words += len(found)
        self._pairs += max(0, len(found) - 1)
        self._known_words.update(found)
        self._known_pairs.update(pairwise(found))
        self._window += found
        while len(self._window) >= _WINDOW:
            self._ratios.append(len(set(self._window[:_WINDOW])) / _WINDOW)
            del self._window[:_WINDOW]

    def summary(self) -> dict[str, float]:
        """Shares from 0 to 1. The type-token ratio is the mean over windows of 1000 words, since the plain one falls with every text."""
        if not self._words:
            return {}
        ratios = self._ratios or [len(set(self._window)) / len(self._window)]
        return {
            "distinct_1": round(len(self._known_words) / self._words, 4),
            "distinct_2": round(len(self._known_pairs) / max(1, self._pairs), 4),
            "type_token_ratio": round(sum(ratios) / len(ratios), 4),
            "texts": self.texts,
        }


def shares(counts: Counter[str], most: int = 20) -> dict[str, int]:
    """The most frequent first, the rest in one."""
    common = dict(counts.most_common(most))
    rest = counts.total() - sum(common.values())
    return common | ({"(others)": rest} if rest else {})
