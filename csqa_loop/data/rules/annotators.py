"""What annotators answered in an export of Argilla: one value a question, or the list of those that differ; drafts say nothing."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from csqa_loop.data.rules.names import is_comparing, is_measure, mark_kind
from csqa_loop.data.rules.rows import RowRefusedError
from csqa_loop.data.rules.worth import number_in

_DRAFTS = {"draft", "discarded", "pending"}
RESPONSES, SUGGESTIONS = "responses.", "suggestions."
_COLUMNS = ((".responses", RESPONSES), (".suggestion", SUGGESTIONS), ("-suggestion", SUGGESTIONS))


class Differing(list[Any]):
    """What annotators who differ answered, one entry each; two names here are no ranking."""


def said(value: Any) -> Iterator[tuple[str, Any]]:
    """Each question with what was answered, of `responses` or `suggestions` in a record."""
    answers: dict[str, list[Any]] = {}
    for entry in value if isinstance(value, list) else [{"values": value}]:
        if entry.get("status") in _DRAFTS:
            continue
        named = {entry["question_name"]: entry} if "question_name" in entry else entry["values"]
        for question, given in named.items():
            # A ranking is one answer.
            each = given if isinstance(given, list) and not is_ranking(given) else [given]
            answers.setdefault(question, []).extend(_answers(each))
    yield from ((question, _one(given)) for question, given in answers.items() if given)


def by_question(values: Mapping[str, Any], named: Collection[str] = ()) -> Mapping[str, Any]:
    """The row of a table that Argilla wrote with `responses.QUESTION` and `suggestions.QUESTION` in place of its columns.

    Argilla 1 has `QUESTION` with a list of annotators' answers and `QUESTION-suggestion`, Argilla 2 `QUESTION.responses` with
    `QUESTION.responses.status`, and `QUESTION.suggestion`. What people said comes first. Columns in `named` keep their names.
    """
    people: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in values.items():
        ending, begin = next((pair for pair in _COLUMNS if name.endswith(pair[0])), ("", ""))
        question = name.removesuffix(ending)
        if is_annotated(value):
            given = _one(list(_answers(_rows(value))))
            people |= {name if name in named else RESPONSES + name: given}
        elif begin == RESPONSES and isinstance(value, list):
            status = values.get(f"{name}.status")
            states = status if isinstance(status, list) and len(status) == len(value) else [None] * len(value)
            people |= {
                name if name in named else RESPONSES + question: _one(
                    [_answer(one) for one, state in zip(value, states, strict=True) if state not in _DRAFTS]
                )
            }
        elif begin == SUGGESTIONS and question and name not in named:
            others |= {SUGGESTIONS + question: _answer(value)}
        else:
            others |= {name: value}
    return people | others if people or others.keys() != values.keys() else values


def is_annotated(value: Any) -> bool:
    """Whether a cell holds the answers of annotators, each with who gave it or whether it was submitted."""
    rows = _rows(value)
    return bool(rows) and all(isinstance(one, Mapping) and "value" in one and ({"user_id", "status"} & one.keys()) for one in rows)


def is_ranking(given: list[Any]) -> bool:
    """Whether a list is one ranking, by names in order or with a rank each."""
    return len(given) > 1 and all(isinstance(one, str) or (isinstance(one, Mapping) and "rank" in one) for one in given)


def is_superseded(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a column holds what was suggested where people have answered."""
    return name.startswith(SUGGESTIONS) and values.get(RESPONSES + name.removeprefix(SUGGESTIONS)) not in (None, [])


def check_unread(values: Mapping[str, Any], unread: Iterable[str]) -> None:
    """Refuse a row of one answer where a column that is not read may say what that answer is worth.

    Raises:
        RowRefusedError: names the column, and what to do.
    """
    for name in unread:
        given = values[name] if isinstance(values[name], list) else [values[name]]
        numbered = any(number_in(one) is not None or (isinstance(one, Mapping) and "rank" in one) for one in given)
        by_people = name.startswith((RESPONSES, SUGGESTIONS)) and not is_superseded(name, values)
        nested = bool(mark_kind(name)) and isinstance(values[name], Mapping)
        if nested or is_comparing(name) or (numbered and (by_people or is_measure(name, "rank"))):
            raise RowRefusedError(
                "label", f"{name} may say what its answer is worth, and it is not known how to read it; --columns liked={name} takes it for a rating, "
                "and without the column the answer is taken as good",
            )  # fmt: skip


def _answers(given: list[Any]) -> Iterator[Any]:
    for one in given:
        if not isinstance(one, Mapping) or "rank" in one:
            yield one
        elif one.get("status") not in _DRAFTS and "value" in one:
            yield _answer(one["value"])


def _answer(value: Any) -> Any:
    """A ranking that a table keeps by columns as one by rows."""
    if isinstance(value, Mapping) and isinstance(value.get("rank"), list) and isinstance(value.get("value"), list):
        return [{"rank": rank, "value": one} for rank, one in zip(value["rank"], value["value"], strict=False)]
    return value


def _rows(value: Any) -> list[Any]:
    if isinstance(value, Mapping) and value.keys() >= {"user_id", "value"} and all(isinstance(column, list) for column in value.values()):
        return [dict(zip(value, cells, strict=False)) for cells in zip(*value.values(), strict=False)]
    return value if isinstance(value, list) else []


def _one(given: list[Any]) -> Any:
    different = [answer for place, answer in enumerate(given) if answer not in given[:place] and answer is not None]
    return different[0] if len(different) == 1 else Differing(different)
