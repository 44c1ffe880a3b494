"""CSV and TSV, one record at a time: what breaks one record must not swallow the next ones."""

import csv
from collections import deque
from collections.abc import Callable, Iterator

from csqa_loop.backends.data_files.encoding import LONGEST_LINE, Line
from csqa_loop.domain.data.rows import Broken, Row
from csqa_loop.domain.errors import PermanentError

_DELIMITERS = ",\t;|"
_LONGEST_RECORD_LINES = 500
"""A quote that never closes would else take the rest of the file into one field."""

Damage = Callable[[str], str | None]


def csv_rows(lines: Iterator[Line], damage: Damage) -> Iterator[Row | Broken]:
    """The records under the header line.

    Raises:
        PermanentError: there is no header to name the columns.
    """
    csv.field_size_limit(LONGEST_LINE)
    records = _Records(lines, damage)
    header = records.header()
    for record in records:
        if isinstance(record, Broken):
            yield record
        elif len(record.fields) != len(header):
            yield Broken(record.line, f"it has {len(record.fields)} fields; the header has {len(header)}")
        else:
            yield Row(record.line, dict(zip(header, record.fields, strict=True)))


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

    def header(self) -> list[str]:
        first = next((line for line in self._lines if line.text.strip()), None)
        if first is None or (reason := self._damage(first.text)):
            raise PermanentError(f"it has no header line that names its columns{f' ({reason})' if first else ': it is empty'}")
        self._delimiter = max(_DELIMITERS, key=first.text.count)
        self._back.append(first)
        record = next(iter(self))
        if isinstance(record, Broken):
            raise PermanentError(f"its header cannot be read: {record.reason}")
        names = [name.strip() for name in record.fields]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise PermanentError(f"its header names {twice[0]!r} more than once; each column needs a name of its own")
        return names

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
            if reason:
                self._back.extendleft(reversed(taken[1:]))
                yield Broken(taken[0].number, reason, "encoding")
            elif any(field.strip() for field in fields):
                yield _Record(taken[0].number, fields)

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
