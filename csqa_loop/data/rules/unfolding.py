"""Rows whose columns stand inside objects, and answers of annotators: one flat row of named cells."""

from collections.abc import Mapping
from typing import Any

from csqa_loop.data.rules.annotators import RESPONSES, SUGGESTIONS, by_question, said
from csqa_loop.data.rules.cells import answers_spelled, is_blank
from csqa_loop.data.rules.names import NAMES, OPENED, plain, side_of_pair

_ANNOTATED = {"responses", "suggestions"}
_LISTS = frozenset([*NAMES["candidates"], *NAMES["scores"], "ranks", "rank", "ranking"])
_SPEAKS = {"role", "from"}


def unfolded(values: Mapping[str, Any], wanted: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    """The row with the members of its objects as columns, `fields.question` for one; the row itself where there is nothing to open.

    Objects are opened that hold a row or what annotators said of it (Argilla's `fields`, `responses`, `suggestions`; OpenAI's `input`), and
    those that a column in `wanted` names: `--columns question=ticket.text`.
    """
    values = by_question(values, set((wanted or {}).values()))
    heads = {name.partition(".")[0] for name in (wanted or {}).values() if name not in values}
    if not any(_opens(name, value, heads) for name, value in values.items()):
        return values
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if not _opens(name, value, heads):
            flat[name] = value
            continue
        members = said(value) if name in _ANNOTATED else value.items()
        inner = {f"{name}.{member}": one for member, one in members}
        # What people said comes before what was suggested to them.
        flat = flat | inner if name != "responses" else inner | flat
    return flat if flat.keys() == values.keys() else unfolded(flat, wanted)


def with_lists(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row with the lists that its cells spell, where several answers, their scores or ranks are meant."""
    is_pair = any(side_of_pair(name) == "rejected" and not is_blank(value) for name, value in values.items())
    spelled = {
        name: answers_spelled(value)
        for name, value in values.items()
        if plain(name) in _LISTS or (is_pair and side_of_pair(name)) or name.startswith((RESPONSES, SUGGESTIONS))
    }
    return values if all(values[name] is value for name, value in spelled.items()) else {**values, **spelled}


def _opens(name: str, value: Any, heads: set[str]) -> bool:
    own = name.rpartition(".")[2]
    if isinstance(value, Mapping):
        return bool(value) and not (_SPEAKS & value.keys()) and (own in OPENED or name.partition(".")[0] in heads)
    return own in _ANNOTATED and isinstance(value, list) and bool(value) and all(_is_annotation(entry) for entry in value)


def _is_annotation(entry: Any) -> bool:
    return isinstance(entry, Mapping) and (isinstance(entry.get("values"), Mapping) or "question_name" in entry)
