"""What a file gives: rows with their line, and places where no row could be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from csqa_loop.errors import PermanentError


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a file. `line` counts from 1: the line where it begins, or the row of a table."""

    line: int
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Broken:
    """A place that holds no readable record, and why."""

    line: int
    reason: str
    kind: str = "unreadable"


@dataclass(frozen=True, slots=True)
class Remark:
    """What a reader should know of a place in a file that gave or gives rows all the same."""

    line: int
    text: str


class RowRefusedError(PermanentError):
    """One row cannot become an example. `kind` is one word to count by."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
