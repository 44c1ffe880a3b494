"""What was seen before, and where: on disk when it grows, so that a file of any size takes little memory."""

import sqlite3
from typing import Self

from csqa_loop.text.similarity import similarity

_CACHE_KIB = 64 * 1024
_NEAR = 0.85
_BAND = 32
"""Bytes: 8 of a signature's 64 numbers. Texts with a similarity of 0.9 share one of the 8 bands with a probability of 0.99 (Leskovec,
Rajaraman and Ullman, Mining of Massive Datasets, section 3.4.2)."""


class SeenBefore:
    """Remembers the line at which each key came first, and which texts are alike. SQLite keeps it in a file that is gone with the process."""

    def __init__(self) -> None:
        # An empty name is a private temporary database that spills to disk.
        self._store = sqlite3.connect("", isolation_level=None)
        self._store.execute("PRAGMA journal_mode = OFF")
        self._store.execute("PRAGMA synchronous = OFF")
        self._store.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._store.execute("CREATE TABLE seen (key BLOB PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        self._store.execute("CREATE TABLE texts (id INTEGER PRIMARY KEY, line INTEGER, signature BLOB)")
        self._store.execute("CREATE TABLE bands (band BLOB PRIMARY KEY, id INTEGER) WITHOUT ROWID")
        self._store.execute("BEGIN")

    def first(self, key: bytes, line: int) -> int | None:
        """None when the key is new, which it is no longer; else the line where it came first."""
        if self._store.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, line)).rowcount:
            return None
        known: tuple[int] = self._store.execute("SELECT line FROM seen WHERE key = ?", (key,)).fetchone()
        return known[0]

    def near(self, signature: bytes, line: int) -> int | None:
        """The line of an earlier text that is nearly the same (`similarity.signature`, 0.85 or more); None where there is none, and then
        this text is remembered.
        """
        bands = [bytes([start // _BAND]) + signature[start : start + _BAND] for start in range(0, len(signature), _BAND)]
        marks = ", ".join("?" * len(bands))
        query = f"SELECT DISTINCT id, line, signature FROM bands JOIN texts USING (id) WHERE band IN ({marks}) ORDER BY id"  # noqa: S608  # marks
        for _, earlier, known in self._store.execute(query, bands):
            if similarity(signature, known) >= _NEAR:
                return int(earlier)
        if bands:
            own = self._store.execute("INSERT INTO texts (line, signature) VALUES (?, ?)", (line, signature)).lastrowid
            self._store.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", [(band, own) for band in bands])
        return None

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
