"""The columns of a table of users: what each one of a header is, and how their cells are read."""

import csv
import gzip
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from csqa_loop.errors import PermanentError

KEYS = ("experiment", "user", "arm", "closed_at")
SEPARATORS = ",;\t|"
MACROS = """
CREATE TEMP MACRO cell(x) AS CASE WHEN lower(trim(x)) NOT IN ('', 'na', 'n/a', '<na>', 'nan', 'nat', 'null', 'none') THEN trim(x) END;
CREATE TEMP MACRO number(x) AS CASE lower(cell(x)) WHEN 'true' THEN 1.0 WHEN 'false' THEN 0.0 ELSE TRY_CAST(cell(x) AS DOUBLE) END;
CREATE TEMP MACRO moment(x) AS CASE WHEN regexp_matches(cell(x), '^[0-9]{4}[-/]') THEN TRY_CAST(cell(x) AS TIMESTAMPTZ) END;
"""
"""`cell`: what stands there, NULL where nothing does. `number` and `moment`: NULL where it is none, too. A year has four digits and comes
first: any other order is a guess."""
_UNNAMED = re.compile(r"(unnamed: ?\d+(_level_\d+)?(\.\d+)?|__index_level_\d+__)?", re.IGNORECASE)
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*')


@dataclass(frozen=True)
class Columns:
    """What the columns of a file are, in the file's order."""

    names: tuple[str, ...]
    """One a column, each a name of its own: as the header has it, in lower case and with `_` for blanks; a number where it is left out."""
    metrics: tuple[str, ...]
    notes: tuple[str, ...]
    """Which columns are not read, in words."""

    @classmethod
    def of(cls, file: Path, header: Sequence[str]) -> "Columns":
        """Read a header.

        Raises:
            PermanentError: a column is missing, twice there, or names no metric.
        """
        given = [name.strip() for name in header]
        unnamed = [place for place, name in enumerate(given) if _UNNAMED.fullmatch(name)]
        names = [f"#{place}" if place in unnamed else re.sub(r"[\s-]+", "_", name).lower() for place, name in enumerate(given)]
        if missing := [name for name in KEYS if name not in names]:
            raise PermanentError(
                f"{file} has no column {', '.join(missing)}; it needs {', '.join(KEYS)}, and NAME_num and NAME_den a metric. "
                f"Its header has {', '.join(map(repr, given)) or 'nothing'}"
            )
        if nameless := [name for name in names if name in {"_num", "_den"}]:
            raise PermanentError(f"{file} has a column {nameless[0]!r}, which names no metric; columns are NAME_num and NAME_den")
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise PermanentError(f"{file} has column {twice[0]} twice; each column needs a name of its own")
        parts = {part: [name.removesuffix(part) for name in names if name.endswith(part)] for part in ("_num", "_den")}
        if alone := sorted(set(parts["_num"]) ^ set(parts["_den"])):
            lacks = f"{alone[0]}{'_den' if alone[0] in parts['_num'] else '_num'}"
            raise PermanentError(f"{file} has no column {lacks}; metric {alone[0]!r} needs both {alone[0]}_num and {alone[0]}_den")
        read = {*KEYS, *(f"{name}{part}" for part, metrics in parts.items() for name in metrics)}
        notes = [f"column {place + 1} ({given[place]!r}) has no name: left out" for place in unnamed]
        if unread := [given[place] for place, name in enumerate(names) if name not in read and place not in unnamed]:
            notes.append(f"columns that are not read: {', '.join(unread)}")
        return cls(tuple(names), tuple(parts["_num"]), tuple(notes))


@dataclass(frozen=True)
class CsvLayout:
    """How a CSV file is laid out."""

    header: tuple[str, ...]
    separator: str
    skipped: int
    """Lines before the header."""

    @classmethod
    def of(cls, file: Path) -> "CsvLayout":
        """Look at the first lines: the header is separated by the sign that it has most, save where a line `sep=` says which.

        Raises:
            PermanentError: it cannot be read, or is no text in UTF-8.
        """
        try:
            with _opened(file) as lines:
                first = next(lines, "")
                if told := _SEPARATOR_LINE.fullmatch(first):
                    return cls(tuple(next(csv.reader([next(lines, "")], delimiter=told[1]), [])), told[1], 1)
                separator = max(SEPARATORS, key=first.count)
                return cls(tuple(next(csv.reader([first], delimiter=separator), [])), separator, 0)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise PermanentError(
                f"{file} cannot be read ({error}); name a Parquet file (.parquet), or a CSV file in UTF-8 with a header"
            ) from error

    def lines_of(self, file: Path, rows: Collection[int]) -> dict[int, int]:
        """Row, counted from 1 without the header -> the line on which it ends. Rows that cannot be told are not there."""
        found: dict[int, int] = {}
        try:
            with _opened(file) as lines:
                for _ in range(self.skipped):
                    next(lines, "")
                reader = csv.reader(lines, delimiter=self.separator)
                row = -1
                for cells in reader:
                    row += bool(cells)
                    if row in rows and cells:
                        found[row] = reader.line_num + self.skipped
                    if len(found) == len(rows):
                        break
        except csv.Error:
            return found
        return found


def _opened(file: Path) -> TextIO:
    if file.suffix.lower() == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open("rt", encoding="utf-8-sig", newline="")


def faults_of(name: str, proportion: bool) -> str:
    """SQL: WHEN ... THEN the reason for which a user's values of this metric are of no use.

    Squares and their quotients stay within a double's range from 1e-30 to 1e30.
    """
    num, den = quoted(f"{name}_num"), quoted(f"{name}_den")
    said = name.replace("'", "''")
    outside = f"WHEN {num} < 0 OR {num} > {den} THEN '{said}_num is outside 0 to {said}_den'" if proportion else ""
    return f"""WHEN {num} IS NULL AND {den} <> 0 THEN '{said}_num is empty'
        WHEN {den} IS NULL AND {num} IS NOT NULL THEN '{said}_den is empty'
        WHEN NOT (isfinite(coalesce({num}, 0)) AND isfinite(coalesce({den}, 0))) THEN '{said} is not a finite number'
        WHEN {den} < 0 THEN '{said}_den is negative' {outside}
        WHEN abs({num}) > 1e30 OR ({den} <> 0 AND {den} NOT BETWEEN 1e-30 AND 1e30) THEN '{said} is beyond 1e30'"""


def text(value: str) -> str:
    """An SQL string."""
    return "'" + value.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """An SQL name."""
    return '"' + name.replace('"', '""') + '"'
