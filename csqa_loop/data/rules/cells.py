"""What one cell of a row holds: text, nothing, or what no text can be made of."""

import ast
import json
from collections.abc import Mapping
from math import isfinite, isnan
from typing import Any

from csqa_loop.data.rules.rows import RowRefusedError
from csqa_loop.text.normal import encodable

LONGEST_TEXT = 200_000
"""Characters: the limit of an event's text."""


def text_in(value: Any, where: str) -> str:
    """The text of a cell; a number is its own, and an empty cell is none.

    Raises:
        RowRefusedError: it is no text, or one that no event can hold.
    """
    if value is None or _is_nan(value):
        return ""
    if isinstance(value, bool) or (isinstance(value, float) and not isfinite(value)):
        raise RowRefusedError("shape", f"{where} is {json.dumps(value)}; text is expected")
    if isinstance(value, bytes):
        raise RowRefusedError("encoding", f"{where} holds bytes that are not UTF-8")
    if isinstance(value, list | Mapping):
        raise RowRefusedError("shape", f"{where} is a {'list' if isinstance(value, list) else 'JSON object'}; text is expected")
    text = str(value)
    if len(text) > LONGEST_TEXT:
        raise RowRefusedError("too long", f"{where} has {len(text)} characters; at most {LONGEST_TEXT} are taken")
    if not encodable(text):
        raise RowRefusedError("encoding", f"{where} holds half of a surrogate pair, which no UTF-8 text can hold")
    return text


def is_blank(value: Any) -> bool:
    """Whether a cell says nothing."""
    return value is None or (isinstance(value, str) and not value.strip()) or value == [] or _is_nan(value)


def answers_spelled(text: Any) -> Any:
    """The list of texts, numbers or objects that a table's cell spells; any other value as it is."""
    if not isinstance(text, str) or not (text.lstrip().startswith("[") and text.rstrip().endswith("]")):
        return text
    try:
        value = list_in(text, "")
    except RowRefusedError:
        return text
    one_by_one = isinstance(value, list) and len(value) > 1
    return value if one_by_one and not any(isinstance(one, Mapping) and {"role", "from"} & one.keys() for one in value) else text


def list_in(text: str, where: str) -> Any:
    """The list that a cell of a table spells, as JSON or as Python prints it.

    Raises:
        RowRefusedError: it spells none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        refusal = RowRefusedError("roles", f"{where} holds text that is no JSON list ({error})")
        if not text.lstrip().startswith("["):
            raise refusal from error
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise refusal from None


def _is_nan(value: Any) -> bool:
    """What programs write into JSON for a cell that is empty."""
    return isinstance(value, float) and isnan(value)
