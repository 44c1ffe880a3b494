"""CSV and TSV, one record at a time: what breaks one record must not swallow the next ones."""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator

from csqa_loop.data.files.encoding import LONGEST_LINE, Line
from csqa_loop.data.rules.rows import Broken, Remark, Row
from csqa_loop.errors import PermanentError

_DELIMITERS = ",\t;|"
_SEPARATOR = re.compile(r'\ufeff?"?sep=([^\r\n"])"?[\s,;]*', re.IGNORECASE)
_LONGEST_RECORD_LINES = 500
"""A quote that never closes would else take the rest of the file into one field."""

Damage = Callable[[str], str | None]


def csv_rows(lines: Iterator[Line], damage: Damage) -> Iterator[Row | Broken | Remark]:
    """The records under the header line.

    Raises:
        PermanentError: there is no header to name the columns.
    """
    csv.field_size_limit(LONGEST_LINE)
    records = _Records(lines, damage)
    header = records.header()
    unnamed = {place for place, name in enumerate(header) if not name}
    for record in records:
        if isinstance(record, Broken):
            yield record
        elif [field.strip("\ufeff ") for field in record.fields[: len(header)]] == header:
            yield Broken(record.line, "it repeats the header line", "header")
        else:
            for place in sorted(place for place in unnamed if record.fields[place].strip()):
                unnamed.remove(place)
                yield Remark(
                    record.line,
                    f"column {place + 1} has no name in the header and is not read; it begins with {record.fields[place][:40]!r}",
                )
            # Past the last name only empty cells follow.
            yield Row(record.line, {name: value for name, value in zip(header, record.fields, strict=False) if name})


class _Record:
    __slots__ = ("fields", "line")

    def __init__(self, line: int, fields: list[str]) -> None:
        self.line = line
        self.fields = fields


class _Records:
    def __init__(self, lines: Iterator[Line], damage: Damage) -> None:
        self._lines = lines
        self._damage = damage
        self._back: deque[Line] = deque()
        self._delimiter = ","
        self._header: list[str] = []

    def header(self) -> list[str]:
        first = self._first_line()
        separator = _SEPARATOR.fullmatch(first.text) if first else None
        # Excel's own line, which names the delimiter.
        first = self._first_line() if separator else first
        if first is None or (reason := self._damage(first.text)):
            raise PermanentError(f"it has no header line that names its columns{f' ({reason})' if first else ': it is empty'}")
        self._delimiter = separator[1] if separator else max(_DELIMITERS, key=first.text.count)
        self._back.append(first)
        record = next(iter(self), None)
        if record is None:
            raise PermanentError("it has no header line that names its columns: all of its cells are empty")
        if isinstance(record, Broken):
            raise PermanentError(f"its header cannot be read: {record.reason}")
        names = [name.strip("\ufeff \t\r\n") for name in record.fields]
        twice = sorted({name for name in names if name and names.count(name) > 1})
        if twice:
            raise PermanentError(f"its header (line {first.number}) names {twice[0]!r} more than once; each column needs a name of its own")
        # Spreadsheets write the empty columns beside a table too.
        while not names[-1]:
            names.pop()
        self._header = names
        return names

    def _first_line(self) -> Line | None:
        return next((line for line in self._lines if line.text.strip("\ufeff \t\r\n")), None)

    def __iter__(self) -> Iterator[_Record | Broken]:
        while True:
            taken: list[Line] = []
            try:
                fields = next(csv.reader(self._feed(taken), delimiter=self._delimiter, strict=True), None)
            except csv.Error as error:
                # The lines behind the first may be records of their own.
                self._back.extendleft(reversed(taken[1:]))
                yield Broken(taken[0].number, f"it is no CSV record: {_plain(str(error))}")
                continue
            if fields is None:
                return
            reason = next((reason for line in taken if (reason := self._damage(line.text))), None)
            wrong = "" if reason else self._miscounted(fields)
            if reason or wrong:
                # A quote too few or too many has taken in lines that may be records of their own.
                self._back.extendleft(reversed(taken[1:]))
                yield Broken(taken[0].number, reason or wrong, "encoding" if reason else "unreadable")
            elif any(field.strip() for field in fields):
                yield _Record(taken[0].number, fields)

    def _miscounted(self, fields: list[str]) -> str:
        """What speaks against a record's number of fields; empty cells past the last named column count as none."""
        wanted = len(self._header)
        if not wanted or not any(field.strip() for field in fields):
            return ""
        if len(fields) < wanted or any(field.strip() for field in fields[wanted:]):
            return f"it has {len(fields)} fields; the header has {wanted}"
        return ""

    def _feed(self, taken: list[Line]) -> Iterator[str]:
        while len(taken) < _LONGEST_RECORD_LINES:
            line = self._back.popleft() if self._back else next(self._lines, None)
            if line is None:
                return
            taken.append(line)
            yield line.text


def _plain(error: str) -> str:
    return {
        "unexpected end of data": f"a quote is opened and not closed within {_LONGEST_RECORD_LINES} lines",
    }.get(error, f"{error} (an unbalanced quote?)" if "expected after" in error else error)
