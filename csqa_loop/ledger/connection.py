"""Connections to the live file: transactions, and migrations by name."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path

import duckdb
import pyarrow as pa

from csqa_loop.errors import PermanentError
from csqa_loop.ledger.rules.holdout import HELD_OUT_MACRO

Connection = duckdb.DuckDBPyConnection
# A COMMIT that the disk refuses is a TransactionException; what comes after it may be a FatalException.
DISK_REFUSES = (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.TransactionException, duckdb.FatalException, OSError)
# Then nothing can be taken at all, and no record is to blame.
OUR_SQL = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Commit what is done within, or nothing of it."""
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:  # whatever it is, an interrupt too: a batch is visible whole or not at all
        with suppress(duckdb.Error):  # a failed COMMIT has already ended the transaction; the first error is the one to raise
            connection.execute("ROLLBACK")
        raise


@contextmanager
def incoming(connection: Connection, rows: pa.Table) -> Iterator[None]:
    """Rows as a table called `incoming`: lists handed over as parameters cost DuckDB an object a value."""
    connection.register("incoming", rows)
    try:
        yield
    finally:
        connection.unregister("incoming")


def create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """The views and macros of this code, in the connection's schema, which has the ledger's tables."""
    connection.execute(_views())


def keep_views(connection: duckdb.DuckDBPyConnection) -> None:
    """`create_views`, where other code made those that are there: to open a ledger nothing need be written."""
    sha = hashlib.sha256(_views().encode()).hexdigest()[:16]
    if connection.execute("SELECT sha FROM made_views").fetchall() == [(sha,)]:
        return
    with transaction(connection):
        create_views(connection)
        connection.execute("DELETE FROM made_views")
        connection.execute("INSERT INTO made_views VALUES (?)", [sha])


def _views() -> str:
    return HELD_OUT_MACRO + ";\n" + resources.files("csqa_loop.ledger").joinpath("views.sql").read_text(encoding="utf-8")


def migrate(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Apply the migrations that `file` lacks, in the order of their names, and never one twice.

    Raises:
        PermanentError: the file was written by a newer version, or with a migration of another text.
    """
    connection.execute("CREATE TABLE IF NOT EXISTS migrations (name VARCHAR PRIMARY KEY, sha VARCHAR, applied_at TIMESTAMPTZ)")
    applied = dict(connection.execute("SELECT name, sha FROM migrations").fetchall())
    scripts = sorted(
        (script for script in resources.files("csqa_loop.ledger").joinpath("migrations").iterdir() if script.name.endswith(".sql")),
        key=lambda script: script.name,
    )
    unknown = applied.keys() - {script.name for script in scripts}
    if unknown:
        msg = f"{file} was written by a newer version (migration {min(unknown)}); upgrade csqa_loop"
        raise PermanentError(msg)
    lacking = [script for script in scripts if script.name not in applied]
    for script in scripts:
        text = script.read_text()
        sha = hashlib.sha256(text.encode()).hexdigest()[:16]
        if script.name in applied:
            if applied[script.name] != sha:
                msg = f"{file}: migration {script.name} was applied with another text; migrations are never edited, add a new one"
                raise PermanentError(msg)
            continue
        with transaction(connection):
            connection.execute(text)
            connection.execute("INSERT INTO migrations VALUES (?, ?, now())", [script.name, sha])
    if lacking:  # at each start it would need room for all that the write-ahead log holds
        connection.execute("CHECKPOINT")
