"""More ways to ask the same question: seeded, in English and Chinese. Only the question changes; numbers and names of policies stay."""

import random
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from csqa_loop.data.rules.examples import Example
from csqa_loop.text.languages import language_of
from csqa_loop.text.normal import normalised
from csqa_loop.text.numbers import numbers_in

AugmentationMethod = Literal["synonyms", "phrasing", "typos", "emotion"]
METHODS: tuple[AugmentationMethod, ...] = get_args(AugmentationMethod)
_DRAWS = 8
"""Attempts for one new wording: a short question has few."""
_SHORTEST_MISTYPED = 4
_WORD = re.compile(r"(?<![A-Za-z0-9'-])[A-Za-z]+(?![A-Za-z0-9'-])")
_SYNONYMS_A_QUESTION = 2


@dataclass(frozen=True)
class Wording:
    """The tables behind the methods, by language where they have one."""

    synonyms: Mapping[str, Sequence[Sequence[str]]]
    phrasing: Mapping[str, Sequence[str]]
    emotion: Mapping[str, Sequence[str]]
    keyboard: Mapping[str, str]
    homophones: Sequence[Sequence[str]]


class Augmenter:
    """Makes variants of examples. The same seed gives the same ones, whatever stands beside an example in its file."""

    def __init__(self, wording: Wording, *, seed: int, names: Collection[str] = ()) -> None:
        """`names` are left as they are wherever they occur: titles of policies, say."""
        self._wording = wording
        self._seed = seed
        self._protected = (
            re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)), re.IGNORECASE) if names else None
        )
        self._makers: Mapping[AugmentationMethod, Callable[[str, str, random.Random], str]] = {
            "synonyms": self._synonyms,
            "phrasing": lambda text, language, rng: _framed(text, self._wording.phrasing[language], rng),
            "typos": self._typos,
            "emotion": lambda text, language, rng: _framed(text, self._wording.emotion[language], rng),
        }

    def variants(self, example: Example, methods: Sequence[AugmentationMethod], factor: int) -> Iterator[Example]:
        """Up to `factor` variants, the methods in turn, each another question than the ones before; fewer where there are no more."""
        question, language = example.question, language_of(example.question)
        known = {question}
        for number in range(factor):
            method = methods[number % len(methods)]
            rng = random.Random(f"{self._seed}\n{method}\n{number}\n{normalised(question)}")
            for _ in range(_DRAWS):
                text = self._makers[method](question, language, rng)
                if text not in known and self._keeps(question, text):
                    known.add(text)
                    yield example.asked_as(text, generator=f"augment:{method}")
                    break

    def _keeps(self, question: str, text: str) -> bool:
        """Whether numbers and protected names are still there, and no more of them."""
        names = (self._protected.findall(question), self._protected.findall(text)) if self._protected else ([], [])
        return numbers_in(text) == numbers_in(question) and names[0] == names[1]

    def _free(self, text: str, start: int, end: int) -> bool:
        if self._protected is None:
            return True
        return not any(match.start() < end and start < match.end() for match in self._protected.finditer(text))

    def _synonyms(self, text: str, language: str, rng: random.Random) -> str:
        found = [
            (match.start(), match.end(), [other for other in group if other != word])
            for group in self._wording.synonyms[language]
            for word in group
            for match in re.finditer(re.escape(word) if language == "zh" else rf"\b{re.escape(word)}\b", text, re.IGNORECASE)
            if self._free(text, match.start(), match.end())
        ]
        rng.shuffle(found)
        taken: list[tuple[int, int, str]] = []
        for start, end, others in found:
            if len(taken) < _SYNONYMS_A_QUESTION and all(end <= begin or stop <= start for begin, stop, _ in taken):
                taken.append((start, end, rng.choice(others)))
        for start, end, word in sorted(taken, reverse=True):
            text = text[:start] + (word[0].upper() + word[1:] if text[start].isupper() else word) + text[end:]
        return text

    def _typos(self, text: str, language: str, rng: random.Random) -> str:
        return self._homophone(text, rng) if language == "zh" else self._mistyped(text, rng)

    def _homophone(self, text: str, rng: random.Random) -> str:
        places = [
            (place, [other for other in group if other != character])
            for place, character in enumerate(text)
            for group in self._wording.homophones
            if character in group and self._free(text, place, place + 1)
        ]
        if not places:
            return text
        place, others = rng.choice(places)
        return text[:place] + rng.choice(others) + text[place + 1 :]

    def _mistyped(self, text: str, rng: random.Random) -> str:
        """One slip: a neighbouring key, two letters swapped, one lost or one doubled. Never a first letter, by which people read."""
        words = [m for m in _WORD.finditer(text) if len(m[0]) >= _SHORTEST_MISTYPED and self._free(text, *m.span())]
        if not words:
            return text
        match = rng.choice(words)
        word, place = match[0], rng.randrange(1, len(match[0]) - 1)
        letter = word[place]
        slip = rng.choice(
            (
                rng.choice(self._wording.keyboard.get(letter.lower(), letter)) + word[place + 1 :],
                word[place + 1] + letter + word[place + 2 :],
                word[place + 1 :],
                letter + word[place:],
            )
        )
        return text[: match.start()] + word[:place] + slip + text[match.end() :]


def _framed(text: str, frames: Sequence[str], rng: random.Random) -> str:
    # "I" and abbreviations keep their capital.
    small = text[0].lower() + text[1:] if re.match(r"[A-Z][a-z]", text) else text
    return rng.choice(frames).format(q=text, q_lower=small, q_bare=text.rstrip("?？!！.。 "))
