"""A file of training data: what it is, and its rows."""

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from csqa_loop.data.files.csv_rows import csv_rows
from csqa_loop.data.files.encoding import damage, errors_of, lines_of, named_encoding, survey
from csqa_loop.data.files.json_rows import json_lines, json_list, wrapped_list
from csqa_loop.data.files.sqlite_rows import choose_table, sqlite_rows
from csqa_loop.data.rules.rows import Broken, Remark, Row
from csqa_loop.errors import PermanentError

Container = Literal["csv", "json", "jsonl", "sqlite"]
_SAMPLE = 4096
_FEW_NULS = 0.05
"""Share of the first bytes. Text has none, but one that slipped in costs its line alone."""
CONTAINERS: tuple[Container, ...] = get_args(Container)
_ENDINGS: dict[str, Container] = {
    ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".db": "sqlite", ".sqlite": "sqlite", ".sqlite3": "sqlite",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that was looked at and can be read as often as needed."""

    path: Path
    container: Container
    encoding: str
    sha256: str
    length: int
    """Rows of a table, else lines: what `line` of the last row comes to."""
    table: str = ""
    guessed: bool = False
    """The encoding is a guess."""

    @property
    def name(self) -> str:
        """The file's name as text, at most 400 characters, for the origin of examples."""
        return self.path.name.encode(errors="replace").decode()[:400]

    def rows(self) -> Iterator[Row | Broken | Remark]:
        """Every row, and every place where none could be read, in the file's order.

        Raises:
            PermanentError: the file as a whole is not what its format asks for; the message names it.
        """
        try:
            yield from self._rows()
        except PermanentError as error:
            raise PermanentError(f"{self.path}: {error}") from error
        except OSError as error:
            raise PermanentError(f"{self.path} cannot be read: {error.strerror}") from error

    def _rows(self) -> Iterator[Row | Broken | Remark]:
        seen_damage = partial(damage, encoding=self.encoding)
        match self.container:
            case "sqlite":
                yield from sqlite_rows(self.path, self.table)
            case "csv":
                yield from csv_rows(lines_of(self.path, self.encoding), seen_damage)
            case "jsonl":
                yield from json_lines(lines_of(self.path, self.encoding), seen_damage)
            case "json":
                with self.path.open(encoding=self.encoding, errors=errors_of(self.encoding), newline="") as handle:
                    yield from json_list(handle, seen_damage)


def open_data_file(path: Path, *, container: Container | None = None, table: str = "", encoding: str = "") -> DataFile:
    """Look at a file: its hash and, where `encoding` and `container` do not say them, its encoding and format.

    Raises:
        PermanentError: no such file, empty, of an unknown format or encoding; or, for SQLite, the table is not there.
    """
    if not path.is_file():
        raise PermanentError(f"{path} is not a file; give one of CSV, JSON, JSON lines or SQLite")
    if not path.stat().st_size:
        raise PermanentError(f"{path} is empty; it should hold rows of questions and answers")
    head = _head(path)
    is_sqlite = head.startswith(b"SQLite format 3\0")
    named = named_encoding(encoding) if encoding else ""
    if (other := _no_text(head, wide=named.startswith(("utf_16", "utf-16", "utf_32", "utf-32")))) and not is_sqlite:
        raise PermanentError(f"{path} {other}")
    seen = survey(path, named)
    if container is None:
        container = "sqlite" if is_sqlite else _guess(path, seen.encoding)
    if (container == "sqlite") != is_sqlite:
        raise PermanentError(
            f"{path} is {'an' if is_sqlite else 'no'} SQLite file; read it with --format {'sqlite' if is_sqlite else 'auto'}"
        )
    if table and not is_sqlite:
        raise PermanentError(f"{path}: --table {table!r} is for SQLite files, and this is {container}")
    if is_sqlite:
        name, length = choose_table(path, table)
        return DataFile(path, "sqlite", "utf-8-sig", seen.sha256, length, name)
    return DataFile(path, container, seen.encoding, seen.sha256, seen.lines, guessed=seen.guessed)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            return handle.read(_SAMPLE)
    except OSError as error:
        raise PermanentError(f"{path} cannot be read: {error.strerror}") from error


def _no_text(head: bytes, *, wide: bool) -> str:
    """What a file is instead of text, and what would be right; empty where it may be text."""
    if head.startswith(b"PK\x03\x04"):
        return "is a spreadsheet (.xlsx) or another ZIP archive; save the sheet as CSV in UTF-8"
    if head.startswith(b"\x1f\x8b"):
        return "is compressed (gzip); unpack it first"
    marked = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE))
    if not marked and not wide and head.count(0) > _FEW_NULS * len(head):
        return "is UTF-16 or UTF-32 without a byte order mark, or no text at all; save it as UTF-8, or name it with --encoding"
    return ""


def _guess(path: Path, encoding: str) -> Container:
    """By the file's beginning, since people name JSON lines .json; its ending decides where that does not tell."""
    with path.open(encoding=encoding, errors=errors_of(encoding)) as handle:
        start = handle.read(_SAMPLE).lstrip("\ufeff \t\r\n")
    if start.startswith("[") or wrapped_list(start):
        return "json"
    if start.startswith("{"):
        if _over_several_lines(start):
            raise PermanentError(
                f"{path} begins with a JSON object over several lines; JSON lines hold one object a line, "
                "and objects over several lines stand in a list: [{...}, {...}]"
            )
        return "jsonl"
    ending = path.suffix.lower()
    if ending in {".json", ".jsonl", ".ndjson"} and not start.startswith(("[", "{")):
        raise PermanentError(f"{path} begins with {start[:20]!r}; JSON begins with [ (a list) or {{ (an object a line)")
    return _ENDINGS.get(ending, "csv")


def _over_several_lines(start: str) -> bool:
    """Whether the first line is no whole object and the second begins none. A line that is longer than what was read tells nothing."""
    first, _, rest = start.partition("\n")
    second = rest.lstrip("\ufeff \t\r\n")
    if not second or second.startswith("{"):
        return False
    try:
        # What follows an object on its line is another one, or that line's own fault.
        json.JSONDecoder().raw_decode(first)
    except (ValueError, RecursionError):
        return True
    return False
