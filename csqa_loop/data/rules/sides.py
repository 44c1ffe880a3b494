"""Which of the answers that stand side by side a cell calls the better one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from csqa_loop.data.rules.names import parted
from csqa_loop.data.rules.rows import RowRefusedError
from csqa_loop.data.rules.worth import Scale, number_in

_VERDICTS = frozenset(
    [
        "winner", "preference", "preferred", "preferred_response", "preferred_answer", "human_preference", "choice", "human_choice", "label", "better", "best", "chosen",
        "better_response", "better_response_id", "better_answer", "best_response", "best_answer", "selected", "selected_response", "verdict", "winning_model",
        "winner_label", "winner_id", "preferred_model", "preferred_id", "preference_label", "safer_response_id", "better_id", "best_id", "choose_best", "偏好", "更好",
    ]
)  # fmt: skip
_SIGNED = frozenset(["overall_preference", "preference_strength", "preference_score"])
"""Below 0 the first of two is better, above 0 the second."""
_CALLED = re.compile(
    r"(?:the )?(?:model|response|answer|assistant|output|candidate|option|completion|choice|conversation|chatbot|system|reply)[_ -]*"
)
_TIES = re.compile(r"(?:it'?s a )?(?:tie|draw|neither|none|equal|same)\b.*|(?:tie|both).*|no preference|all equal|平局|都好|都不好|一样")
_COMPARED = re.compile(r"\W*(?P<one>[ab0-9])\s*(?P<sign>>+|<+|=+)\s*(?P<other>[ab0-9])\W*")
_SAID = re.compile(r"\W*(?P<one>[ab0-9])(?: is (?:the )?(?:much |slightly |significantly )?(?:better|best)(?: one)?)?\W*")
_ORDINALS = ("first", "second", "third", "fourth")


def is_verdict(name: str) -> bool:
    """Whether a column of this name may say which answer is better."""
    return parted(name) in _VERDICTS | _SIGNED


def is_side(value: Any, column: str) -> bool:
    """Whether a cell of a column that may say which answer is better names a side, and no answer."""
    text = _CALLED.sub("", str(value).strip().casefold(), count=1).strip("_ -")
    return is_verdict(column) and any(pattern.fullmatch(text) for pattern in (_TIES, _COMPARED, _SAID))


def better_side(
    value: Any, column: str, family: Sequence[str], texts: Mapping[str, Any], models: Mapping[str, Any], scale: Scale | None
) -> str:
    """The tag of the answer that a cell calls better. `family`: the tags of the answers, in order; `texts`, `models`: tag -> answer and who gave it;
    `scale`: the numbers of the whole column, for a single 1 may be the first answer, the second, or a step of a scale.

    Raises:
        RowRefusedError: none is better, the judges do not agree, or it is not certain which is meant.
    """
    values = value if isinstance(value, list) else [value]
    named = {_side(one, column, family, texts, models, scale) for one in values}
    if len(named) != 1:
        raise RowRefusedError("label", f"the judges in {column} do not agree on the better answer")
    tag = named.pop()
    if not tag:
        raise RowRefusedError("neither", f"{column} says that none of its {len(family)} answers is better")
    return tag


def _side(value: Any, column: str, family: Sequence[str], texts: Mapping[str, Any], models: Mapping[str, Any], scale: Scale | None) -> str:
    number = number_in(value)
    if len(family) == 2 and (parted(column) in _SIGNED or (number is not None and scale is not None and scale.low < 0)):
        return _signed(number, value, column, family)
    if number is not None:
        return _numbered(number, column, family, scale)
    text = str(value).strip().casefold()
    if _TIES.fullmatch(text):
        return ""
    compared = _COMPARED.fullmatch(text)
    if compared and {compared["one"], compared["other"]} == set(family):
        return "" if "=" in compared["sign"] else compared["one" if ">" in compared["sign"] else "other"]
    called = _CALLED.sub("", text, count=1).strip("_ -")
    said = _SAID.fullmatch(called)
    meant = {said["one"]} if said else {tag for word, tag in zip(_ORDINALS, family, strict=False) if called in {word, f"{word} one"}}
    meant = meant & set(family) or {
        tag for known in (texts, models) for tag in family if known.get(tag) and str(known[tag]).strip() == str(value).strip()
    }
    return _certain(meant, value, column, family)


def _signed(number: float | None, value: Any, column: str, family: Sequence[str]) -> str:
    if number is None:
        raise RowRefusedError(
            "label", f"{column} is {str(value)[:40]!r}; a number is expected: below 0 for the first answer, above 0 for the second"
        )
    return "" if number == 0 else family[number > 0]


def _numbered(number: float, column: str, family: Sequence[str], scale: Scale | None) -> str:
    """The answer of this number, where all numbers of the column can be meant so: 0 beside 1 and 2 may be a tie, 0 and 1 alone count from 0."""
    if scale is not None and all(tag.isdigit() for tag in family):
        low, high = int(family[0]), int(family[-1])
        if scale.high > high or (scale.low < low and not (scale.low == 0 and scale.high == high)):
            raise RowRefusedError(
                "label", f"{column} runs from {scale.low:g} to {scale.high:g}, and the answers are called {', '.join(family)}; its numbers must be theirs, "
                "so that it is certain which is better",
            )  # fmt: skip
    return _certain({str(int(number))} & set(family) if number == int(number) else set(), f"{number:g}", column, family)


def _certain(meant: set[str], value: Any, column: str, family: Sequence[str]) -> str:
    if len(meant) != 1:
        raise RowRefusedError(
            "label", f"{column} is {str(value)[:40]!r}, and the answers are called {', '.join(family)}; it must name one of them, so that it is certain which is better",
        )  # fmt: skip
    return next(iter(meant))
