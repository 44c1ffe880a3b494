"""Rows whose columns stand inside objects, and answers of annotators: one flat row of named cells."""

from collections.abc import Iterator, Mapping
from typing import Any

from csqa_loop.data.rules.names import OPENED

_ANNOTATED = {"responses", "suggestions"}
_DRAFTS = {"draft", "discarded"}
_SPEAKS = {"role", "from"}


def unfolded(values: Mapping[str, Any], wanted: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    """The row with the members of its objects as columns, `fields.question` for one; the row itself where there is nothing to open.

    Objects are opened that hold a row or what annotators said of it (Argilla's `fields`, `responses`, `suggestions`; OpenAI's `input`), and
    those that a column in `wanted` names: `--columns question=ticket.text`.
    """
    heads = {name.partition(".")[0] for name in (wanted or {}).values() if name not in values}
    if not any(_opens(name, value, heads) for name, value in values.items()):
        return values
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if not _opens(name, value, heads):
            flat[name] = value
            continue
        members = _said(value) if name in _ANNOTATED else value.items()
        inner = {f"{name}.{member}": said for member, said in members}
        # What people said comes before what was suggested to them.
        flat = flat | inner if name != "responses" else inner | flat
    return flat if flat.keys() == values.keys() else unfolded(flat, wanted)


def _opens(name: str, value: Any, heads: set[str]) -> bool:
    own = name.rpartition(".")[2]
    if isinstance(value, Mapping):
        return bool(value) and not (_SPEAKS & value.keys()) and (own in OPENED or name.partition(".")[0] in heads)
    return own in _ANNOTATED and isinstance(value, list) and bool(value) and all(_is_annotation(entry) for entry in value)


def _is_annotation(entry: Any) -> bool:
    return isinstance(entry, Mapping) and (isinstance(entry.get("values"), Mapping) or "question_name" in entry)


def _said(value: Any) -> Iterator[tuple[str, Any]]:
    """Each question with what was answered: one value, or the list of those that differ."""
    answers: dict[str, list[Any]] = {}
    entries = value if isinstance(value, list) else [{"values": value}]
    for entry in entries:
        if entry.get("status") in _DRAFTS:
            continue
        named = {entry["question_name"]: entry} if "question_name" in entry else entry["values"]
        for question, said in named.items():
            # A ranking is one answer.
            each = said if isinstance(said, list) and not _is_ranking(said) else [said]
            for one in each:
                if isinstance(one, Mapping) and (one.get("status") in _DRAFTS or "value" not in one):
                    continue
                answer = one["value"] if isinstance(one, Mapping) and "rank" not in one else one
                if answer not in answers.setdefault(question, []):
                    answers[question].append(answer)
    for question, given in answers.items():
        if given:
            yield question, given[0] if len(given) == 1 else given


def _is_ranking(said: list[Any]) -> bool:
    return len(said) > 1 and all(isinstance(one, str) or (isinstance(one, Mapping) and "rank" in one) for one in said)
