"""Rows that hold answers side by side and say in a column of its own which is better: arenas, annotators' choices and rankings.

Such a row becomes one with `chosen` and `rejected`. What cannot be told with certainty is refused, never guessed: a 1 may be the first answer
or the second.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from csqa_loop.data.rules.annotators import Differing, is_superseded
from csqa_loop.data.rules.cells import is_blank
from csqa_loop.data.rules.names import NAMES, is_answer, is_correction, is_measure, is_model, parted, plain, side_of_pair
from csqa_loop.data.rules.rows import RowRefusedError
from csqa_loop.data.rules.sides import better_side, is_verdict
from csqa_loop.data.rules.worth import Scale, is_off, number_in
from csqa_loop.text.normal import normalised

_TAGGED = re.compile(r"(?:(?P<base>.*?[a-z])?[_ ]?)(?P<tag>[0-9]|(?:(?<=_)|^)[ab])(?P<rest>(?:_.*)?)")
_FAMILIES = (("a", "b"), *(tuple(str(n) for n in range(first, first + count)) for count in range(9, 1, -1) for first in (0, 1)))
_ONE_HOT = re.compile(r"winner_(?:model_|response_|answer_)?(?P<tag>a|b|[0-9]|tie)")
_SAFE = re.compile(r"is_(?:response|answer|output)_(?P<tag>a|b|[0-9])_safe")
_RANKS = frozenset(["ranks", "rank"])
_TAG = "#"
WHICH, SIDE = "which answer is better", "chosen or rejected"
"""What columns are read as."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The row with `chosen` and `rejected` in place of the columns that were read."""

    values: Mapping[str, Any]
    read: tuple[tuple[str, str], ...] = ()
    """Each of those columns with what it was read as."""


def decided(values: Mapping[str, Any], scales: Mapping[str, Scale] | None = None) -> Decided:
    """The row as a pair, where its columns compare answers; else the row as it is. `scales`: the numbers of whole columns.

    Raises:
        RowRefusedError: none is better, its judges contradict one another, or it cannot be told which is meant.
    """
    return (
        _by_correction(values)
        or _by_numbers(values)
        or _by_ranking(values)
        or _by_ranks(values)
        or _by_verdict(values, scales or {})
        or Decided(values)
    )


def _by_correction(values: Mapping[str, Any]) -> Decided | None:
    """An answer and its correction: the correction is better, unless it says the same."""
    if _has_pair(values, set()):
        return None
    corrected = next((name for name, value in values.items() if is_correction(name) and isinstance(value, str) and not is_blank(value)), "")
    answers = {plain(name): name for name, value in values.items() if isinstance(value, str) and not is_blank(value) and name != corrected}
    first = next((answers[name] for name in NAMES["chosen"] if name in answers and not is_correction(name)), "")
    if not corrected or not first:
        return None
    rest = {name: value for name, value in values.items() if name not in {corrected, first}} | {"chosen": values[corrected]}
    same = normalised(values[first]) == normalised(values[corrected])
    return Decided(rest if same else rest | {"rejected": values[first]}, ((corrected, "chosen"), (first, "chosen" if same else "rejected")))


def _by_numbers(values: Mapping[str, Any]) -> Decided | None:
    """Columns `rejected_1`, `rejected_2` ... are one list."""
    found: dict[str, list[str]] = {}
    for side in ("chosen", "rejected"):
        groups = _tagged(values, lambda name, side=side: side_of_pair(name) == side)  # type: ignore[misc]
        if len(groups) == 1 and not any(plain(name) == side and not is_blank(values[name]) for name in values):
            found[side] = list(groups[0].values())
    if "rejected" not in found:
        return None
    read = tuple((name, SIDE) for names in found.values() for name in names)
    rest = {name: value for name, value in values.items() if name not in dict(read)}
    return Decided(rest | {side: [values[name] for name in names] for side, names in found.items()}, read)


def _by_verdict(values: Mapping[str, Any], scales: Mapping[str, Scale]) -> Decided | None:
    """Answers side by side (`response_a`, `response_b`), and a column that names one, one column each that is set, or a score each."""
    sides = _tagged(values, is_answer)
    if len(sides) != 1 or _has_pair(values, set(sides[0].values())):
        return None
    (family,) = sides
    texts = {tag: values[name] for tag, name in family.items()}
    models = next(
        (
            found
            for found in ({t: values[n] for t, n in group.items()} for group in _tagged(values, is_model))
            if found.keys() == texts.keys()
        ),
        {},
    )
    tags = tuple(family)
    told = [(name, better_side(values[name], name, tags, texts, models, scales.get(name))) for name in _verdict_columns(values)]
    hot = {match["tag"]: name for name in values if (match := _ONE_HOT.fullmatch(plain(name))) and not is_blank(values[name])}
    won = [tag for tag, name in hot.items() if not is_off(values[name])]
    told += [(name, won[0] if len(won) == 1 else "") for name in hot.values()]
    for word, best_of in (("score", max), ("rank", min)):
        for scored in _tagged(values, lambda name, word=word: is_measure(name, word)):  # type: ignore[misc]
            numbers = {tag: number_in(values[name]) for tag, name in scored.items()}
            if scored.keys() == family.keys() and None not in numbers.values():
                ends = [tag for tag, number in numbers.items() if number == best_of(_known(numbers))]
                told += [(name, ends[0] if len(ends) == 1 else "") for name in scored.values()]
    if not told:
        return None
    for name, tag in told:
        if tag not in family:
            raise RowRefusedError("neither", f"{name} says that none of its {len(family)} answers is better")
    better = {tag for _, tag in told}
    if len(better) > 1:
        raise RowRefusedError("label", f"its marks contradict one another: {', '.join(name for name, _ in told)} name different answers")
    best = better.pop()
    safe = {name: match["tag"] for name in values if (match := _SAFE.fullmatch(parted(name))) and match["tag"] in family}
    if unsafe := next((name for name, tag in safe.items() if tag == best and is_off(values[name])), ""):
        raise RowRefusedError("label", f"its better answer is marked as not safe by {unsafe}; such an answer is not taught")
    told += [(name, best) for name in safe]
    read = [*((name, WHICH) for name, _ in told), *((name, SIDE) for name in family.values())]
    rest = {name: value for name, value in values.items() if name not in dict(read)}
    rejected = [values[name] for tag, name in family.items() if tag != best]
    return Decided(_with_answers(rest, [values[family[best]]], rejected), tuple(read))


def _known(numbers: Mapping[str, float | None]) -> list[float]:
    return [number for number in numbers.values() if number is not None]


def _by_ranking(values: Mapping[str, Any]) -> Decided | None:
    """A ranking of columns by their names, as Argilla has it: the names in order, or each with its rank; one, or one an annotator."""
    texts = {plain(name): name for name, value in values.items() if isinstance(value, str) and not is_blank(value)}
    sides = _tagged(values, is_answer)
    if len(sides) == 1:
        # `Response 2` or `reply-2` is what annotators saw of `response2`.
        texts |= {_TAG + tag: name for tag, name in sides[0].items()}
    for column, value in values.items():
        rankings = list(_rankings(value, texts))
        if not rankings:
            continue
        best = {frozenset(name for name, rank in ranks.items() if rank == min(ranks.values())) for ranks in rankings}
        worse = {frozenset(name for name, rank in ranks.items() if rank > min(ranks.values())) for ranks in rankings}
        if len(best) > 1 or len(worse) > 1:
            raise RowRefusedError("label", f"its {len(rankings)} rankings in {column} do not agree on the best answer")
        chosen, rejected = sorted(best.pop()), sorted(worse.pop())
        if not rejected:
            raise RowRefusedError("neither", f"all its answers have one rank in {column}; none of them is better")
        read = [(column, WHICH), *((name, SIDE) for name in (*chosen, *rejected))]
        rest = {name: cell for name, cell in values.items() if name not in dict(read)}
        return Decided(_with_answers(rest, [values[name] for name in chosen], [values[name] for name in rejected]), tuple(read))
    return None


def _by_ranks(values: Mapping[str, Any]) -> Decided | None:
    """A list of answers with their ranks, in each or in a list beside them; the lowest is the best."""
    answers = next((name for name in values if plain(name) in NAMES["candidates"] and isinstance(values[name], list)), None)
    if answers is None or len(values[answers]) < 2:
        return None
    column = next((name for name in values if plain(name) in _RANKS and isinstance(values[name], list)), None)
    said = values[column] if column else [one.get("rank") if isinstance(one, Mapping) else None for one in values[answers]]
    ranks = [number for number in map(number_in, said) if number is not None]
    if column is None and not ranks:
        return None
    if len(ranks) != len(values[answers]):
        raise RowRefusedError("label", f"it has {len(values[answers])} answers and {len(ranks)} ranks; each answer needs its own")
    chosen = [answer for answer, rank in zip(values[answers], ranks, strict=True) if rank == min(ranks)]
    rejected = [answer for answer, rank in zip(values[answers], ranks, strict=True) if rank > min(ranks)]
    if not rejected:
        raise RowRefusedError("neither", f"all its {len(ranks)} answers have one rank; none of them is better")
    rest = {name: value for name, value in values.items() if name not in {answers, column}}
    return Decided(_with_answers(rest, chosen, rejected), ((answers, SIDE), *(((column, WHICH),) if column else ())))


def _with_answers(rest: Mapping[str, Any], chosen: list[Any], rejected: list[Any]) -> dict[str, Any]:
    """The row with these answers; questions and answers that stand in lists of their own become conversations."""
    question = next((name for name in NAMES["question"] for own in rest if plain(own) == name and _texts(rest[own])), None)
    asked = next((own for own in rest if question and plain(own) == question), None)
    if asked is not None:
        questions = _texts(rest[asked])
        sides = [[_conversation(questions, _texts(answer)) for answer in answers] for answers in (chosen, rejected)]
        if all(turns for side in sides for turns in side):
            rest = {name: value for name, value in rest.items() if name != asked}
            chosen, rejected = sides
    one = [answers[0] if len(answers) == 1 else answers for answers in (chosen, rejected)]
    return {**rest, "chosen": one[0], "rejected": one[1]}


def _conversation(questions: Sequence[str], answers: Sequence[str]) -> list[dict[str, str]]:
    if not questions or len(answers) != len(questions):
        return []
    turns = zip(questions, answers, strict=True)
    return [{"role": role, "content": text} for pair in turns for role, text in zip(("user", "assistant"), pair, strict=True)]


def _texts(value: Any) -> list[str]:
    """The texts of a list, or of a cell that spells one as JSON."""
    if isinstance(value, str) and value.lstrip().startswith('["'):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    return value if isinstance(value, list) and value and all(isinstance(text, str) and text.strip() for text in value) else []


def _tagged(values: Mapping[str, Any], wanted: Callable[[str], bool]) -> list[dict[str, str]]:
    """For each set of columns whose names differ in a letter or digit alone and are `wanted` without it: tag -> column."""
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for name, value in values.items():
        match = _TAGGED.fullmatch(parted(name))
        if match and not is_blank(value) and not isinstance(value, bool) and wanted(f"{match['base'] or ''}{match['rest']}"):
            groups.setdefault((match["base"] or "", match["rest"]), {})[match["tag"]] = name
    return [{tag: group[tag] for tag in family} for group in groups.values() for family in _FAMILIES if tuple(sorted(group)) == family]


def _has_pair(values: Mapping[str, Any], sides: set[str]) -> bool:
    """Whether the row names a rejected answer beside what is compared."""
    return any(plain(name) in NAMES["rejected"] and name not in sides and not is_blank(value) for name, value in values.items())


def _verdict_columns(values: Mapping[str, Any]) -> Iterator[str]:
    yield from (name for name, value in values.items() if is_verdict(name) and not is_blank(value) and not is_superseded(name, values))


def _rankings(value: Any, texts: Mapping[str, str]) -> Iterator[dict[str, float]]:
    """Column -> rank, for each ranking that the cell holds."""
    if not isinstance(value, list) or (len(value) < 2 and not (value and isinstance(value[0], list))):
        return
    if isinstance(value, Differing) or all(isinstance(one, list) for one in value):
        for one in value:
            yield from _rankings(one, texts)
    elif all(isinstance(one, Mapping) and "rank" in one for one in value):
        ranks = {texts.get(_option(one.get("value"), texts)): number_in(one["rank"]) for one in value}
        if None not in ranks and None not in ranks.values() and len(ranks) == len(value):
            yield {str(name): float(rank or 0) for name, rank in ranks.items()}
    elif all(isinstance(one, str) for one in value):
        names = [texts.get(_option(one, texts)) for one in value]
        if None not in names and len(set(names)) == len(names):
            yield {str(name): float(place) for place, name in enumerate(names)}


def _option(value: Any, texts: Mapping[str, str]) -> str:
    called = plain(str(value))
    if called in texts:
        return called
    match = _TAGGED.fullmatch(parted(str(value)))
    return _TAG + match["tag"] if match and is_answer(f"{match['base'] or ''}{match['rest']}") else ""
