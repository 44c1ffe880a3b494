"""Questions with what a right answer holds, and answers graded by it."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "\u00a0": " ", "\u202f": " "})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Probe(_Part):
    """A question with the strings that tell a right answer from a wrong one."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    policy: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    ask: tuple[Phrase, ...] = Field(min_length=1)
    expect: tuple[Phrase, ...] = Field(min_length=1)
    forbid: tuple[Phrase, ...] = ()
    category: Annotated[str, StringConstraints(max_length=200)] = ""
    """What it counts for in the gate's report; empty: its policy."""
    zero_tolerance: bool = False
    """As a regression question: an adapter that no longer answers it right is refused."""


@dataclass(frozen=True)
class Grade:
    """What an answer holds."""

    expected: bool
    """Every `expect`."""
    forbidden: bool
    """Some `forbid`."""

    @property
    def right(self) -> bool:
        """A customer gives thumbs up."""
        return self.expected and not self.forbidden


def grade(answer: str, question: Probe, language: str) -> Grade:
    """Which of the question's phrases occur in an answer, ignoring case and, in zh, spaces.

    Full-width forms, ligatures and typographic quotes count as their plain forms, and runs of white space as one space.
    """
    text = plain(answer, language)
    return Grade(
        expected=all(plain(part, language) in text for part in question.expect),
        forbidden=any(plain(part, language) in text for part in question.forbid),
    )


def judge(answer: str, question: Probe, language: str) -> bool:
    """Whether a customer gives thumbs up: every `expect` and no `forbid` occurs."""
    return grade(answer, question, language).right


def plain(text: str, language: str) -> str:
    """Text as it is compared."""
    folded = unicodedata.normalize("NFKC", text.translate(_QUOTES)).casefold()
    return re.sub(r"\s+", "" if language == "zh" else " ", folded)
