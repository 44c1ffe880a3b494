"""What a mark in a file says about an answer: good, bad, or neither."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any, Literal

from csqa_loop.data.rules.rows import RowRefusedError

Verdict = Literal["good", "bad", "neither"]
MarkKind = Literal["thumb", "stars", "score"]
"""How a number is read: 1 is good as a thumb, the lowest of five as stars, and tells nothing as a score where the file has no other."""

_WORDS: Mapping[str, Verdict] = {
    **dict.fromkeys(("true", "1", "1.0", "yes", "up", "like", "liked", "good", "positive", "👍", "赞", "好评", "是"), "good"),
    **dict.fromkeys(("thumbs up", "thumb up", "thumbsup", "upvote", "upvoted", "helpful", "correct", "accepted", "approved", "satisfied"), "good"),
    **dict.fromkeys(("chosen", "preferred", "excellent", "great", "very good", "+1", "满意", "有用", "正确"), "good"),
    **dict.fromkeys(("false", "0", "0.0", "-1", "-1.0", "no", "down", "dislike", "disliked", "bad", "negative", "👎", "踩", "差评", "否"), "bad"),
    **dict.fromkeys(("thumbs down", "thumb down", "thumbsdown", "downvote", "downvoted", "unhelpful", "not helpful", "incorrect", "wrong"), "bad"),
    **dict.fromkeys(("rejected", "unsatisfied", "dissatisfied", "poor", "very bad", "very poor", "terrible", "不满意", "没用", "错误"), "bad"),
    **dict.fromkeys(("neutral", "neither", "mixed", "average", "fair", "ok", "okay", "so so", "tie", "unrated", "中评", "一般"), "neither"),
}  # fmt: skip
_OFF = {"false", "0", "no", "off"}
_OF = re.compile(r"([0-9]+(?:[.,][0-9]+)?)\s*(?:/|of|out of|von|sur)\s*([0-9]+)")
_STARS = re.compile(r"([0-9]+(?:[.,][0-9]+)?)\s*(?:\*|stars?|星|分|pts?|points?)")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?")
_QUARTER = 0.25
_MOST_STARS = 5


@dataclass(frozen=True, slots=True)
class Scale:
    """The lowest and highest number that a column holds in a file."""

    low: float
    high: float

    def with_number(self, number: float) -> "Scale":
        """The scale that holds this number too."""
        return Scale(min(self.low, number), max(self.high, number))

    def ends(self, *, stars: bool) -> tuple[float, float] | None:
        """The scale that these numbers are from: 1 or 0 to 5, 10 or 100, 0 or -1 to 1; None where it cannot be told."""
        if self.high <= 1 and not (stars and self.low == self.high == 1):
            return (-1.0, 1.0) if -1 <= self.low < 0 else (0.0, 1.0) if 0 <= self.low < 1 else None
        for high in (5.0, 10.0, 100.0):
            if self.low >= 0 and self.high <= high:
                return (1.0 if self.low >= 1 and high < 100 else 0.0, high)
        return None


def verdict_of(value: Any, column: str, scale: Scale | None = None, *, kind: MarkKind = "thumb") -> Verdict:
    """What a mark says. `scale`: the numbers of the whole column; without it a number is taken by itself.

    Raises:
        RowRefusedError: it is no mark, or a number on a scale that cannot be told.
    """
    text = _folded(value)
    own = _own_scale(text)
    if own is not None:
        return _by_place(*own)
    number = number_in(value)
    if number is not None and (kind != "thumb" or (scale is not None and (scale.high > 1 or scale.low < -1))):
        ends = (scale or Scale(number, number)).ends(stars=kind == "stars")
        if kind == "thumb" and ends is not None and ends[1] > _MOST_STARS:
            # Thumbs may be given as stars; more numbers than five are classes of something else.
            ends = None
        if ends is None:
            low, high = (scale.low, scale.high) if scale else (number, number)
            raise RowRefusedError(
                "label", f"{column} is {number:g} in a column that runs from {low:g} to {high:g}; "
                f"1 to 5, 10 or 100, 0 to 1 or -1 to 1 is expected, or true and false",
            )  # fmt: skip
        return _by_place(number, *ends)
    known = _WORDS.get(text)
    if known is None:
        raise RowRefusedError(
            "label",
            f"the thumb is {str(value)[:40]!r} ({column}); true, false, 1, 0, up, down, good, bad or a rating such as 4/5 is expected",
        )
    return known


def is_mark(value: Any) -> bool:
    """Whether it is a mark rather than an answer in words."""
    if isinstance(value, bool | int | float):
        return True
    text = _folded(value) if isinstance(value, str) else ""
    return bool(text) and (text in _WORDS or _own_scale(text) is not None or _NUMBER.fullmatch(text) is not None)


def is_off(value: Any) -> bool:
    """Whether `weight`, `loss` or `train` says that something is not to be taught."""
    number = number_in(value)
    return value is False or number == 0 or (isinstance(value, str) and value.strip().casefold() in _OFF)


def number_in(value: Any) -> float | None:
    """The number that a cell holds; None where it holds none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if isfinite(value) else None
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value.strip().replace(",", "."))
    return None


def liked_of(verdicts: Iterable[tuple[str, Verdict]]) -> bool | None:
    """What several marks on one answer say together; None where there are none.

    Raises:
        RowRefusedError: they contradict one another, or all say neither: such an answer is taught neither for nor against.
    """
    said = list(verdicts)
    if not said:
        return None
    good, bad = ([column for column, verdict in said if verdict == wanted] for wanted in ("good", "bad"))
    if good and bad:
        raise RowRefusedError("label", f"its marks contradict one another: {good[0]} says good, {bad[0]} says bad")
    if not good and not bad:
        raise RowRefusedError("neither", f"{said[0][0]} says neither good nor bad, so nothing can be learned from its answer")
    return bool(good)


def _by_place(number: float, low: float, high: float) -> Verdict:
    place = (number - low) / (high - low)
    return "good" if place >= 1 - _QUARTER else "bad" if place <= _QUARTER else "neither"


def _own_scale(text: str) -> tuple[float, float, float] | None:
    """The number and the ends of its scale, where the cell says them: 4/5, 3 stars, 80 %, ★★★★☆."""
    full = text.count("★") + text.count("⭐")
    if full and not text.strip("★☆⭐\ufe0f "):
        return float(full), 1.0, max(5.0, float(full + text.count("☆")))
    if match := _OF.fullmatch(text):
        number, high = float(match[1].replace(",", ".")), float(match[2])
        return (number, 0.0 if number < 1 or high > 10 or high == 1 else 1.0, high) if number <= high and high >= 1 else None
    if (match := _STARS.fullmatch(text)) and float(match[1].replace(",", ".")) <= 5:
        return float(match[1].replace(",", ".")), 1.0, 5.0
    if text.endswith("%") and (number := number_in(text[:-1])) is not None and 0 <= number <= 100:  # type: ignore[assignment]
        return number, 0.0, 100.0
    return None


def _folded(value: Any) -> str:
    if isinstance(value, float) and isnan(value):
        return ""
    return " ".join(str(value).replace("_", " ").replace("-", " ").split()).casefold() if not _is_number(value) else str(value).strip()


def _is_number(value: Any) -> bool:
    return number_in(value) is not None
