"""JSON lines, and one JSON list, which is read element by element: neither is ever held whole."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from csqa_loop.data.files.encoding import LONGEST_LINE, Line
from csqa_loop.data.rules.rows import Broken, Remark, Row
from csqa_loop.errors import PermanentError

_BLOCK = 256 * 1024
_MARK = re.compile(r'["\[\]{},]')
_STRING_END = re.compile(r'["\\]')
_NOT_SPACE = re.compile(r"[^\s\ufeff]")
_WRAPPED = re.compile(r'[\s\ufeff]*\{\s*"data"\s*:\s*(?=\[\s*\{)')
_LONGEST_LEAD = 80
_BLANKS = " \t\r\n\ufeff\0"
_UNCLOSED = "it is no JSON object: a bracket or quote that it opens is never closed"

Damage = Callable[[str], str | None]


def json_lines(lines: Iterator[Line], damage: Damage) -> Iterator[Row | Broken]:
    """One object a line, or several; empty lines are passed over, and so are commas between lines."""
    for number, text in lines:
        if stripped := text.strip(_BLANKS):
            row = _element(number, stripped.rstrip(",").rstrip(), damage)
            yield from (_several(number, stripped) or [row]) if isinstance(row, Broken) and row.kind == "unreadable" else [row]


def _several(number: int, text: str) -> list[Row | Broken]:
    """The objects of a line that holds nothing but objects, one behind the other; empty for any other line."""
    rows: list[Row | Broken] = []
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        if not isinstance(value, dict):
            return []
        rows.append(Row(number, value))
        at = len(text) - len(text[end:].lstrip(_BLANKS + ","))
    return rows


def wrapped_list(text: str) -> int:
    """Where the list begins in a text that begins with `{"data": [{`, as data sets are often wrapped; 0 for any other text."""
    match = _WRAPPED.match(text)
    return match.end() if match else 0


def json_list(handle: TextIO, damage: Damage) -> Iterator[Row | Broken | Remark]:
    """The elements of a list of objects, or of `{"data": [...]}`, and of what follows it: a list that was closed early, or a second one.

    Raises:
        PermanentError: the text begins with neither.
    """
    return iter(_List(handle, damage))


class _List:
    """A window over the text: what is before `_at` is done with. `_line` is the line of `_at`, `_lead` what stands before it there."""

    def __init__(self, handle: TextIO, damage: Damage) -> None:
        self._handle = handle
        self._damage = damage
        self._text = ""
        self._at = 0
        self._line = 1
        self._lead = ""
        self._ended = False
        self._lost = False
        """The rest of the text is inside an element that never ends, which was said."""

    def __iter__(self) -> Iterator[Row | Broken | Remark]:
        wrapped = False
        if self._next_character() == "{":
            wrapped = True
            self._advance(self._at + wrapped_list(self._text[self._at :]))
        if self._next_character() != "[":
            raise PermanentError("it is no JSON list: it must begin with [")
        self._advance(self._at + 1)
        yield from self._elements()
        if wrapped:
            yield from self._rest_of_wrapper()
        told = False
        while character := self._next_character():
            if character in ",]":
                self._advance(self._at + 1)
                continue
            if not told:
                told = True
                yield Remark(self._line, "the list ends before here, and more follows; what follows is read as rows of it")
            if character == "[":
                self._advance(self._at + 1)
                yield from self._elements()
            else:
                yield from self._rows_at()

    def _elements(self) -> Iterator[Row | Broken]:
        """Up to the list's end, which is passed."""
        while (character := self._next_character()) not in {"]", ""}:
            if character == ",":
                self._advance(self._at + 1)
            else:
                yield from self._rows_at()
        if character == "" and not self._lost:
            yield Broken(self._line, "the list is never closed: the file ends without ]")
        self._advance(self._at + len(character))

    def _rows_at(self) -> Iterator[Row | Broken]:
        """The element that begins here, as a row or as a place where none could be read."""
        end = self._end_of_element()
        # A bracket that closes what nothing opened is an element of its own.
        end = None if end is None else max(end, self._at + 1)
        row = Broken(self._line, _UNCLOSED) if end is None else _element(self._line, self._text[self._at : end], self._damage)
        yield row
        # What a bracket or quote too few has taken in may be rows of its own.
        resumed = self._next_object(end) if isinstance(row, Broken) else None
        if end is None and resumed is None:
            self._lost = True
            self._advance(len(self._text))
            return
        self._advance(resumed or end or self._at)

    def _rest_of_wrapper(self) -> Iterator[Broken | Remark]:
        """What stands beside the list in its object: no rows, but it is said."""
        line, names = self._line, []
        while (character := self._next_character()) not in {"}", ""}:
            if character == ",":
                self._advance(self._at + 1)
                continue
            # A name with its value: a colon ends nothing.
            end = self._end_of_element()
            names.append(self._text[self._at : end].partition(":")[0].strip()[:_LONGEST_LEAD])
            self._advance(len(self._text) if end is None else max(end, self._at + 1))
        self._advance(self._at + len(character))
        if names:
            yield Remark(line, f"beside the list stand {', '.join(names)}, which are not read")

    def _next_character(self) -> str:
        while True:
            match = _NOT_SPACE.search(self._text, self._at)
            self._advance(match.start() if match else len(self._text))
            if match:
                return match[0]
            if not self._read():
                return ""

    def _read(self) -> bool:
        block = "" if self._ended else self._handle.read(_BLOCK)
        self._ended = not block
        self._text, self._at = self._text[self._at :] + block, 0
        return bool(block)

    def _advance(self, end: int) -> None:
        passed = self._text[self._at : end]
        self._line += passed.count("\n")
        _, newline, rest = passed.rpartition("\n")
        self._lead = (rest if newline else self._lead + rest)[:_LONGEST_LEAD]
        self._at = end

    def _end_of_element(self) -> int | None:
        """Where the element at `_at` ends in `_text`; None where it does not end, or not within the longest line."""
        length = depth = 0
        in_string = False
        while True:
            match = (_STRING_END if in_string else _MARK).search(self._text, self._at + length)
            if match is None:
                length = len(self._text) - self._at
                if length > LONGEST_LINE or not self._read():
                    return None
                continue
            mark, length = match[0], match.end() - self._at
            if mark == "\\":
                length += 1
                if self._at + length > len(self._text):
                    self._read()
            elif mark == '"':
                in_string = not in_string
            elif mark in "[{":
                depth += 1
            elif mark in "]}":
                depth -= 1
                if depth <= 0:
                    # Below zero it is the list's own bracket, behind an element that is no object.
                    return self._at + length + min(depth, 0)
            elif depth == 0:
                return self._at + length - 1

    def _next_object(self, end: int | None) -> int | None:
        """The next line before `end` that opens an object as far in as the element at `_at`: files have a line an element, or indent."""
        indent = "" if self._lead.strip() else self._lead
        match = re.compile(rf"\n{indent}(?=\{{)").search(self._text, self._at, len(self._text) if end is None else end)
        return match.end() if match else None


def _element(line: int, text: str, damage: Damage) -> Row | Broken:
    if reason := damage(text):
        return Broken(line, reason, "encoding")
    if len(text) > LONGEST_LINE:
        return Broken(line, f"it has more than {LONGEST_LINE} characters; a record of the log takes no more")
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Broken(line, f"it is no JSON object: {error}")
    if not isinstance(value, dict):
        return Broken(line, f"it is a JSON {type(value).__name__}; an object with named columns is expected")
    return Row(line, value)
