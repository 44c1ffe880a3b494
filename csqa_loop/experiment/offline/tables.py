"""Tables of experiments' users, from Parquet or CSV."""

import csv
import gzip
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import duckdb
import numpy as np

from csqa_loop.errors import PermanentError
from csqa_loop.experiment.offline.rules.hindsight import ExperimentUsers

_KEYS = ("experiment", "user", "arm", "closed_at")
_SEPARATORS = ",;\t|"
_PARQUET = {".parquet", ".pq"}


class UserTable:
    """A file with the columns experiment, user, arm, closed_at, and NAME_num and NAME_den for each metric NAME."""

    def __init__(self, file: Path) -> None:
        """Open the file and look at its columns.

        Raises:
            PermanentError: it is missing, unreadable, or lacks a column.
        """
        self._file = file
        if not file.is_file():
            raise PermanentError(f"{file} cannot be read: {'a folder' if file.is_dir() else 'no such file'}; name a Parquet or CSV file")
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        if file.suffix.lower() in _PARQUET:
            self._reader = f"read_parquet({_glob(file)})"
            columns = [row[0] for row in self._ask(f"DESCRIBE SELECT * FROM {self._reader}").fetchall()]  # noqa: S608 - quoted
        else:
            columns, separator = _header(file)
            self._check(columns)
            # Read by its own header: what would be guessed of a file with a short row near the top is another one.
            fields = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in columns)
            self._reader = (
                f"read_csv({_glob(file)}, auto_detect = false, header = true, delim = {_text(separator)}, quote = '\"', escape = '\"', "
                f"columns = {{{fields}}})"
            )
        self.metrics = self._check(columns)

    def _check(self, columns: list[str]) -> tuple[str, ...]:
        """The metrics that the columns hold."""
        if missing := [name for name in _KEYS if name not in columns]:
            raise PermanentError(
                f"{self._file} has no column {', '.join(missing)}; it needs {', '.join(_KEYS)}, and NAME_num and NAME_den a metric"
            )
        if nameless := [name for name in columns if name in {"", "_num", "_den"}]:
            raise PermanentError(f"{self._file} has a column {nameless[0]!r}, which names no metric; columns are NAME_num and NAME_den")
        # DuckDB's names do not tell capitals apart.
        if twice := [name for name, times in Counter(map(str.lower, columns)).items() if times > 1]:
            raise PermanentError(f"{self._file} has column {twice[0]} twice; each column needs a name of its own")
        numerators = {name.removesuffix("_num") for name in columns if name.endswith("_num")}
        denominators = {name.removesuffix("_den") for name in columns if name.endswith("_den")}
        if alone := sorted(numerators ^ denominators):
            lacks = f"{alone[0]}_{'den' if alone[0] in numerators else 'num'}"
            raise PermanentError(f"{self._file} has no column {lacks}; metric {alone[0]!r} needs both {alone[0]}_num and {alone[0]}_den")
        return tuple(name.removesuffix("_num") for name in columns if name.endswith("_num"))

    def _ask(self, query: str) -> duckdb.DuckDBPyConnection:
        try:
            return self._connection.execute(query)
        except duckdb.Error as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            reason = "; ".join(lines[:3] if "CSV Error on Line" in lines[0] else lines[:1])
            raise PermanentError(
                f"{self._file} cannot be read ({reason}); name a Parquet file (.parquet), or a CSV file in UTF-8 with a header"
            ) from error

    def looks_like_proportion(self, metric: str) -> bool:
        """Every numerator lies between 0 and its denominator."""
        num, den = (f"TRY_CAST({_quoted(f'{metric}_{part}')} AS DOUBLE)" for part in ("num", "den"))
        row = self._ask(f"SELECT coalesce(bool_and({num} BETWEEN 0 AND {den}), false) FROM {self._reader}").fetchone()  # noqa: S608 - quoted
        return bool(row and row[0])

    def without_experiment(self) -> int:
        """Rows that name no experiment."""
        row = self._ask(f"SELECT count(*) FROM {self._reader} WHERE coalesce(trim(experiment::VARCHAR), '') = ''").fetchone()  # noqa: S608 - quoted
        return int(row[0]) if row else 0

    def experiments(self, metrics: Collection[str], proportions: Collection[str], judged: Collection[str]) -> Iterator[ExperimentUsers]:
        """Each experiment's usable users in the order in which their windows closed; what is not usable is counted.

        Args:
            metrics: Those to read.
            proportions: Those of them whose numerators lie between 0 and the denominator.
            judged: Those of them that a verdict rests on: without a usable value there, the user is left out. In another one such a value
                is no data.

        Raises:
            PermanentError: the file has no row.
        """
        values = "".join(
            f", TRY_CAST({_quoted(f'{name}_{part}')} AS DOUBLE) AS {_quoted(f'{name}_{part}')}, {_empty(name, part)}"
            for name in metrics
            for part in ("num", "den")
        )
        faults = "".join(f", CASE {_faults(name, name in proportions)} END AS {_quoted(f'{name}_fault')}" for name in metrics)
        first_fault = ", ".join([_quoted(f"{name}_fault") for name in metrics if name in judged] or ["NULL"])
        # Which of two rows of the same moment counts must not depend on their place in the file.
        order = "".join(f", {_quoted(f'{name}_{part}')}" for name in metrics for part in ("num", "den"))
        self._ask(
            f"""
            CREATE OR REPLACE TEMP TABLE judged AS
            WITH given AS (
                SELECT experiment::VARCHAR AS experiment, nullif("user"::VARCHAR, '') AS "user", arm::VARCHAR AS arm,
                    TRY_CAST(closed_at AS TIMESTAMPTZ) AS closed_at {values} FROM {self._reader}
            ), valued AS (
                SELECT *, arm IS NOT NULL AND arm IN ('challenger', 'control') AS known_arm {faults}
                FROM given WHERE coalesce(trim(experiment), '') <> ''
            ), checked AS (
                SELECT *, CASE WHEN "user" IS NULL THEN 'no user' WHEN NOT known_arm THEN 'unknown arm'
                    WHEN NOT coalesce(closed_at BETWEEN TIMESTAMPTZ '0001-01-01' AND TIMESTAMPTZ '9999-12-31 23:59:59.999999', false)
                        THEN 'closed_at is no date' ELSE coalesce({first_fault}) END AS fault FROM valued
            ), once AS (
                SELECT *, row_number() OVER (PARTITION BY experiment, "user", fault IS NULL ORDER BY closed_at {order}) AS entry,
                    min(arm) FILTER (known_arm) OVER (PARTITION BY experiment, "user") < max(arm) FILTER (known_arm) OVER (PARTITION BY experiment, "user")
                        AS in_both FROM checked
            )
            SELECT * EXCLUDE (fault, entry, in_both), CASE WHEN fault IS NOT NULL THEN fault WHEN in_both THEN 'seen in both arms'
                WHEN entry > 1 THEN 'entered before' END AS fault FROM once
            """  # noqa: S608 - names are quoted
        )
        names = [row[0] for row in self._ask("SELECT DISTINCT experiment FROM judged ORDER BY 1").fetchall()]
        if not names:
            raise PermanentError(f"{self._file} has no row with an experiment; there is nothing to analyse")
        for name in names:
            yield self._one(name, metrics)

    def _one(self, experiment: str, metrics: Collection[str]) -> ExperimentUsers:
        excluded: dict[str, int] = dict(
            self._connection.execute(
                "SELECT fault, count(*) FROM judged WHERE experiment = ? AND fault IS NOT NULL GROUP BY fault ORDER BY fault", [experiment]
            ).fetchall()
        )
        for name in metrics:
            fault = _quoted(f"{name}_fault")
            excluded |= self._connection.execute(
                f"SELECT {fault} || ' (this metric only)' AS said, count(*) FROM judged WHERE experiment = ? AND fault IS NULL AND {fault} IS NOT NULL "  # noqa: S608 - quoted
                "GROUP BY ALL ORDER BY said",
                [experiment],
            ).fetchall()
        columns = "".join(
            f", CASE WHEN {_quoted(f'{name}_fault')} IS NULL THEN coalesce({_quoted(f'{name}_{part}')}, 0) ELSE 0 END AS {_quoted(f'{name}_{part}')}"
            for name in metrics
            for part in ("num", "den")
        )
        rows = self._connection.execute(
            f"""SELECT arm = 'challenger' AS challenger, strftime(closed_at, '%Y-%m-%dT%H:%M:%S.%fZ') AS closed_at {columns}
            FROM judged WHERE experiment = ? AND fault IS NULL ORDER BY judged.closed_at, "user" """,  # noqa: S608 - names are quoted
            [experiment],
        ).fetchnumpy()
        return ExperimentUsers(
            experiment,
            tuple(map(str, rows["closed_at"])),
            np.asarray(rows["challenger"], dtype=bool),
            {name: (np.asarray(rows[f"{name}_num"], dtype=float), np.asarray(rows[f"{name}_den"], dtype=float)) for name in metrics},
            excluded,
        )


def _header(file: Path) -> tuple[list[str], str]:
    """(columns, separator) of a CSV file."""
    try:
        with (gzip.open if file.suffix.lower() == ".gz" else open)(file, "rt", encoding="utf-8-sig", newline="") as lines:
            first = next(iter(lines), "")
            separator = max(_SEPARATORS, key=first.count)
            return [name.strip() for name in next(csv.reader([first], delimiter=separator), [])], separator
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(
            f"{file} cannot be read ({error}); name a Parquet file (.parquet), or a CSV file in UTF-8 with a header"
        ) from error


def _faults(name: str, proportion: bool) -> str:
    """Squares and their quotients stay within a double's range from 1e-30 to 1e30."""
    num, den = _quoted(f"{name}_num"), _quoted(f"{name}_den")
    said = name.replace("'", "''")
    empty = f"{_quoted(f'{name}_num_empty')} AND {_quoted(f'{name}_den_empty')}"
    outside = f"WHEN {num} < 0 OR {num} > {den} THEN '{said}_num is outside 0 to {said}_den'" if proportion else ""
    return f"""WHEN NOT ({empty}) AND NOT coalesce(isfinite({num}) AND isfinite({den}), false) THEN '{said} is not a finite number'
        WHEN {den} < 0 THEN '{said}_den is negative' {outside}
        WHEN abs({num}) > 1e30 OR ({den} <> 0 AND {den} NOT BETWEEN 1e-30 AND 1e30) THEN '{said} is beyond 1e30'"""


def _empty(name: str, part: str) -> str:
    return f"{_quoted(f'{name}_{part}')} IS NULL AS {_quoted(f'{name}_{part}_empty')}"


def _glob(file: Path) -> str:
    """DuckDB reads a name as a pattern; in brackets a sign of one stands for itself."""
    return _text("".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(file)))


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
