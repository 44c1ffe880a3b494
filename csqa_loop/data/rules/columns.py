"""Which column holds what: the names that files use, and those that a person gives."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from csqa_loop.data.rules.annotators import RESPONSES
from csqa_loop.data.rules.cells import is_blank
from csqa_loop.data.rules.names import (
    CONVERSATIONS,
    DIALOGUES,
    NAMES,
    is_comparing,
    is_needing_text,
    mark_kind,
    plain,
    score_of_side,
    side_of_pair,
)
from csqa_loop.data.rules.reasoning import KEYS
from csqa_loop.data.rules.turns import transcript, turns_spelled
from csqa_loop.data.rules.worth import is_mark
from csqa_loop.errors import PermanentError

ROLES = ("question", "chosen", "rejected", "liked", "category", "input", "system", "history", "split", "generator", "made_from")
"""What `--columns` can name."""
UNREAD = ""
_REMEMBERED = 10_000
"""Layouts of rows; a table with many columns that are empty here and there has more than one wants to keep."""

ValueKind = Literal["blank", "flag", "mark", "list", "object", "transcript", "text"]
_FLAGS = {"true", "false"}
_LONGEST_MARK = 24


@dataclass(frozen=True, slots=True)
class Mark:
    """A column that rates the answer."""

    column: str
    kind: Literal["thumb", "stars", "score", "good", "bad"]


@dataclass(frozen=True, slots=True)
class Columns:
    """The column of each role; an empty name where the file has none."""

    question: str = ""
    chosen: str = ""
    rejected: str = ""
    liked: str = ""
    category: str = ""
    input: str = ""
    system: str = ""
    history: str = ""
    split: str = ""
    generator: str = ""
    made_from: str = ""
    conversation: str = ""
    """The list of turns, in ShareGPT's or OpenAI's shape; then `question` is not needed."""
    weight: str = ""
    candidates: str = ""
    """Several answers, which scores compare."""
    scores: str = ""
    chosen_score: str = ""
    rejected_score: str = ""
    marks: tuple[Mark, ...] = ()
    left_out: tuple[str, ...] = ()
    """A model's reasoning."""
    became: tuple[tuple[str, str], ...] = ()
    """Each column that holds something in this row with what it is read as; `UNREAD` where it is not."""


_SINGLE = tuple(field.name for field in fields(Columns) if field.name not in {"marks", "left_out", "became"})


def parse_mapping(text: str) -> dict[str, str]:
    """`question=q,chosen=a` as a mapping from role to column.

    Raises:
        PermanentError: names the part that is no `role=column`, and the roles; or the column that is given two.
    """
    given: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, sign, column = (piece.strip() for piece in part.partition("="))
        role = "chosen" if role == "answer" else role
        if not sign or not column or role not in ROLES:
            raise PermanentError(f"--columns: {part!r} is no role=column; the roles are {', '.join(ROLES)}")
        if column in given.values() and given.get(role) != column:
            raise PermanentError(f"--columns: {part!r} gives {column!r} a second role; each role needs a column of its own")
        given[role] = column
    return given


class ColumnFinder:
    """Finds the columns of rows; rows of one file may differ in what they leave out."""

    def __init__(self, given: Mapping[str, str] | None = None, *, conversations: bool = False, fixed: bool = False) -> None:
        """With `conversations` every row must have a list of turns; with `fixed` all have the same columns, as in a table."""
        self._given = dict(given or {})
        self._conversations = conversations
        self._fixed = fixed
        self._known: dict[tuple[tuple[str, ValueKind], ...], Columns] = {}

    def find(self, values: Mapping[str, Any]) -> Columns:
        """The columns of a row.

        Raises:
            PermanentError: names the columns found, and what is needed.
        """
        key = tuple((name, _kind(value)) for name, value in values.items())
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = self._resolve(dict(key))
        return self._known[key]

    def _resolve(self, kinds: Mapping[str, ValueKind]) -> Columns:
        names = tuple(kinds)
        by_plain_name = {plain(name): name for name in reversed(names)}
        conversation = next((by_plain_name[name] for name in CONVERSATIONS if name in by_plain_name), "")
        if not conversation and not any(name in by_plain_name for name in NAMES["question"]):
            conversation = next(
                (by_plain_name[name] for name in DIALOGUES if name in by_plain_name and kinds[by_plain_name[name]] == "list"), ""
            )
        if self._conversations and not conversation:
            raise PermanentError(f"no column {' or '.join(CONVERSATIONS)} with a list of turns; columns found: {_listed(names)}")
        found = {role: self._column(role, kinds, by_plain_name) for role in NAMES}
        if not found["rejected"] and (rejected := self._side("rejected", kinds, found)):
            # `good` beside `bad` is meant before an `answer` that stands beside both.
            found |= {"rejected": rejected, "chosen": self._side("chosen", kinds, found) or found["chosen"]}
        found["chosen"] = found["chosen"] or self._side("chosen", kinds, found)
        if not found["question"] and plain(found["input"]) == "input" and kinds[found["input"]] != "blank":
            # Some pipelines call the question their input.
            found |= {"question": found["input"], "input": ""}
        if found["chosen"] and kinds[found["chosen"]] != "blank":
            found["candidates"] = ""
        if not found["candidates"]:
            found["scores"] = ""
        # ShareGPT's preference variant calls them chosen and rejected too; an `answer` beside a conversation belongs to something else.
        missing = [role for role in ("question", "chosen") if not found[role] and not conversation]
        # A prompt may stand inside what is compared.
        if missing == ["question"] and kinds[found["chosen"]] in {"list", "transcript"}:
            missing = []
        if missing == ["chosen"] and found["candidates"]:
            missing = []
        absent = [f"{role}={column}" for role, column in self._given.items() if column not in names]
        # Rows of JSON may leave out what only some of them have.
        if absent and (missing or self._fixed):
            raise PermanentError(f"--columns {absent[0]}: there is no such column; columns found: {_listed(names)}")
        if missing:
            wanted = "; ".join(f"{role} (or {', '.join(NAMES[role][1:6])})" for role in missing)
            raise PermanentError(
                f"no column for {wanted}; columns found: {_listed(names)}; name them with --columns {','.join(f'{role}=NAME' for role in missing)}"
            )
        of_one_column = replace(Columns(conversation=conversation), **found)  # type: ignore[arg-type]  # each role is a name
        return self._completed(of_one_column, kinds)

    def _completed(self, columns: Columns, kinds: Mapping[str, ValueKind]) -> Columns:
        """With marks, scores and what became of each column."""
        if columns.conversation:
            columns = replace(columns, question="", input="", history="")
        elif kinds.get(columns.question) == "list":
            columns = replace(columns, input="", history="", system="")
        taken = {getattr(columns, role) for role in _SINGLE}
        is_pair = bool(columns.candidates) or kinds.get(columns.rejected, "blank") != "blank"
        free = [name for name in kinds if name not in taken and kinds[name] != "blank"]
        sides = {score_of_side(name): name for name in reversed(free)} if is_pair else {}
        marks = [] if is_pair else [Mark(name, mark_kind(name)) for name in free if mark_kind(name) and _may_rate(name, kinds[name])]  # type: ignore[arg-type]
        if columns.liked and not is_pair:
            marks.insert(0, Mark(columns.liked, "thumb"))
        # What people said of an answer stands before what was suggested to them about the same.
        marks = list({plain(mark.column): mark for mark in reversed(marks)}.values())[::-1]
        columns = replace(columns, marks=tuple(marks), left_out=tuple(name for name in free if plain(name) in KEYS))
        columns = replace(columns, chosen_score=sides.get("chosen", ""), rejected_score=sides.get("rejected", ""))
        became = {getattr(columns, role): role for role in _SINGLE if getattr(columns, role)}
        became |= {mark.column: "liked" for mark in marks} | dict.fromkeys(columns.left_out, "left out: a model's reasoning")
        return replace(columns, became=tuple((name, became.get(name, UNREAD)) for name, kind in kinds.items() if kind != "blank"))

    def _column(self, role: str, kinds: Mapping[str, ValueKind], by_plain_name: Mapping[str, str]) -> str:
        if role in self._given:
            return self._given[role] if self._given[role] in kinds else ""
        wanted = {"candidates": {"list"}, "scores": {"list"}, "weight": {"flag", "mark"}}.get(role)
        taken = set(self._given.values())
        candidates = (by_plain_name[name] for name in NAMES[role] if name in by_plain_name and by_plain_name[name] not in taken)
        return next((name for name in candidates if _fits(role, kinds[name], wanted)), "")

    def _side(self, side: str, kinds: Mapping[str, ValueKind], found: Mapping[str, str]) -> str:
        if side in self._given:
            return ""
        taken = {*self._given.values(), *found.values()}
        # UltraFeedback has lists of `correct_answers` and `incorrect_answers` beside what it compares.
        no_list = {"blank", "list"} if found["candidates"] else {"blank"}
        named = [name for name in kinds if name not in taken and side_of_pair(name) == side and kinds[name] not in no_list]
        if side == "chosen" and not found["rejected"]:
            # A `winner` alone may as well say which of two answers is better.
            named = [name for name in named if not is_comparing(name)]
        return next((name for name in named if kinds[name] != "flag" and (kinds[name] != "mark" or not is_needing_text(name))), "")


def _fits(role: str, kind: ValueKind, wanted: Collection[str] | None) -> bool:
    if role == "rejected":
        # `rejected: true` rates the answer.
        return kind != "flag"
    return wanted is None or kind in wanted


def _may_rate(name: str, kind: ValueKind) -> bool:
    return kind in {"flag", "mark"} or (kind == "text" and mark_kind(name) == "stars") or (kind == "list" and name.startswith(RESPONSES))


def _kind(value: Any) -> ValueKind:
    if is_blank(value):
        return "blank"
    if isinstance(value, list):
        return "list"
    if isinstance(value, Mapping):
        return "object"
    if isinstance(value, bool) or (isinstance(value, str) and value.strip().casefold() in _FLAGS):
        return "flag"
    if isinstance(value, str) and len(value) > _LONGEST_MARK:
        return "list" if isinstance(turns_spelled(value), list) else "transcript" if transcript(value) else "text"
    return "mark" if is_mark(value) else "text"


def _listed(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
