"""A table of an SQLite file, opened read-only: nothing is written, not even a journal."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from csqa_loop.data.rules.rows import Broken, Row
from csqa_loop.errors import PermanentError


def choose_table(path: Path, wanted: str) -> tuple[str, int]:
    """The table to read and its number of rows: the named one, or the only one.

    Raises:
        PermanentError: there is none of that name, or several and none is named; or the file is damaged.
    """
    try:
        with _opened(path) as connection:
            query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY name"
            tables = [name for (name,) in connection.execute(query)]
            if wanted and wanted not in tables:
                raise PermanentError(f"{path} has no table {wanted!r}; it has {', '.join(tables) or 'none'}")
            if not wanted and len(tables) != 1:
                raise PermanentError(f"{path} has {len(tables)} tables ({', '.join(tables) or 'none'}); name one with --table")
            table = wanted or tables[0]
            return table, connection.execute(f"SELECT count(*) FROM {_quoted(table)}").fetchone()[0]  # noqa: S608  # quoted
    except sqlite3.Error as error:
        raise PermanentError(f"{path} cannot be read as SQLite: {error}") from error


def sqlite_rows(path: Path, table: str) -> Iterator[Row | Broken]:
    """The rows in the table's own order; `line` is the row's number."""
    number = 0
    with _opened(path) as connection:
        try:
            cursor = connection.execute(f"SELECT * FROM {_quoted(table)}")  # noqa: S608  # quoted
            names = [column[0] for column in cursor.description]
            for number, values in enumerate(cursor, start=1):
                yield Row(number, dict(zip(names, values, strict=True)))
        except sqlite3.Error as error:
            yield Broken(number + 1, f"the table ends here, for SQLite says: {error}")


class _opened:  # noqa: N801  # reads as what it does
    """sqlite3's own context manager commits and leaves open."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)
        self._connection.text_factory = _text

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _text(raw: bytes) -> str | bytes:
    """Text where it is UTF-8; else the bytes, which are refused where the row is read."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
