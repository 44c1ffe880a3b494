"""Between which numbers the rating columns of a file run: 1 is the best of two and the worst of five."""

from collections.abc import Iterable, Mapping
from itertools import chain, islice

from csqa_loop.data.rules.names import NAMES, mark_kind, plain
from csqa_loop.data.rules.rows import Broken, Remark, Row
from csqa_loop.data.rules.sides import is_verdict
from csqa_loop.data.rules.unfolding import unfolded
from csqa_loop.data.rules.worth import Scale, number_in

_LOOKED_AT = 1000
"""Rows: where none of them has a column that rates, the rest is not read for it."""


def scales_of(rows: Iterable[Row | Broken | Remark], given: Mapping[str, str] | None = None) -> dict[str, Scale]:
    """The scale of each column that may rate an answer, by its name."""
    rows = iter(rows)
    first = list(islice(rows, _LOOKED_AT))
    scales: dict[str, Scale] = {}
    rated = (given or {}).get("liked", "")
    if not any(_rating(row, rated, given) for row in first):
        return scales
    for row in chain(first, rows):
        for name, number in _rating(row, rated, given):
            scales[name] = scales[name].with_number(number) if name in scales else Scale(number, number)
    return scales


def _rating(row: Row | Broken | Remark, rated: str, given: Mapping[str, str] | None) -> list[tuple[str, float]]:
    if not isinstance(row, Row):
        return []
    return [
        (name, number)
        for name, value in unfolded(row.values, given).items()
        if name == rated or mark_kind(name) or plain(name) in NAMES["liked"] or is_verdict(name)
        for one in (value if isinstance(value, list) else [value])
        if (number := number_in(one)) is not None
    ]
