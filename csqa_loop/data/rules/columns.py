"""Which column holds what: the names that files use, and those that a person gives."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from csqa_loop.errors import PermanentError

# The first name that a file has wins, so the plainest come first.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "question": ("question", "prompt", "instruction", "query", "user", "ask", "问题", "提问", "用户问题"),
    "chosen": ("chosen", "answer", "response", "output", "completion", "corrected_answer", "答案", "回答", "回复", "正确答案"),
    "rejected": ("rejected", "rejected_answer", "bad_answer", "错误答案", "错误回答"),
    "liked": ("liked", "label", "thumb", "kto_tag", "评价", "标签"),
    "category": ("category", "topic", "intent", "类别", "分类"),
    "input": ("input", "context", "补充"),
    "system": ("system", "system_prompt", "系统"),
    "history": ("history",),
    "split": ("split",),
    "generator": ("generator",),
    "made_from": ("made_from",),
}
ROLES = tuple(_NAMES)
_CONVERSATIONS = ("conversations", "conversation", "messages")


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
        self._known: dict[tuple[tuple[str, bool], ...], Columns] = {}

    def find(self, values: Mapping[str, Any]) -> Columns:
        """The columns of a row.

        Raises:
            PermanentError: names the columns found, and what is needed.
        """
        key = tuple((name, isinstance(value, list)) for name, value in values.items())
        if key not in self._known:
            self._known[key] = self._resolve(values)
        return self._known[key]

    def _resolve(self, values: Mapping[str, Any]) -> Columns:
        names = tuple(values)
        by_plain_name = {_plain(name): name for name in reversed(names)}
        conversation = next((by_plain_name[name] for name in _CONVERSATIONS if name in by_plain_name), "")
        if self._conversations and not conversation:
            raise PermanentError(f"no column {' or '.join(_CONVERSATIONS)} with a list of turns; columns found: {_listed(names)}")
        found = {role: self._column(role, names, by_plain_name) for role in ROLES}
        # ShareGPT's preference variant calls them chosen and rejected too; an `answer` beside a conversation belongs to something else.
        missing = [role for role in ("question", "chosen") if not found[role] and not conversation]
        # A prompt may stand inside the two lists of messages that are compared.
        if missing == ["question"] and isinstance(values[found["chosen"]], list):
            missing = []
        absent = [f"{role}={column}" for role, column in self._given.items() if column not in names]
        # Rows of JSON may leave out what only some of them have.
        if absent and (missing or self._fixed):
            raise PermanentError(f"--columns {absent[0]}: there is no such column; columns found: {_listed(names)}")
        if missing:
            wanted = "; ".join(f"{role} (or {', '.join(_NAMES[role][1:6])})" for role in missing)
            raise PermanentError(
                f"no column for {wanted}; columns found: {_listed(names)}; name them with --columns {','.join(f'{role}=NAME' for role in missing)}"
            )
        return Columns(conversation=conversation, **found)

    def _column(self, role: str, names: Collection[str], by_plain_name: Mapping[str, str]) -> str:
        if role in self._given:
            return self._given[role] if self._given[role] in names else ""
        taken = set(self._given.values())
        return next((by_plain_name[name] for name in _NAMES[role] if name in by_plain_name and by_plain_name[name] not in taken), "")


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def _listed(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
