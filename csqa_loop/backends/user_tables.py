"""Tables of experiments' users, from Parquet or CSV."""

from collections.abc import Collection, Iterator
from pathlib import Path

import duckdb
import numpy as np

from csqa_loop.domain.errors import PermanentError
from csqa_loop.domain.hindsight import ExperimentUsers

_KEYS = ("experiment", "user", "arm", "closed_at")


class UserTable:
    """A file with the columns experiment, user, arm, closed_at, and NAME_num and NAME_den for each metric NAME."""

    def __init__(self, file: Path) -> None:
        """Open the file and look at its columns.

        Raises:
            PermanentError: it is missing, unreadable, or lacks a column.
        """
        self._file = file
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        reader = "read_parquet($1)" if file.suffix.lower() in {".parquet", ".pq"} else "read_csv($1, all_varchar = true, header = true)"
        try:
            given = self._connection.execute(f"DESCRIBE SELECT * FROM {reader}", [str(file)]).fetchall()  # noqa: S608 - one of two constants
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise PermanentError(f"{file} cannot be read ({reason}); name a Parquet file (.parquet) or a CSV file with a header") from error
        self._reader = reader
        columns = [row[0] for row in given]
        if missing := [name for name in _KEYS if name not in columns]:
            raise PermanentError(
                f"{file} has no column {', '.join(missing)}; it needs {', '.join(_KEYS)}, and NAME_num and NAME_den a metric"
            )
        numerators = {name.removesuffix("_num") for name in columns if name.endswith("_num")}
        denominators = {name.removesuffix("_den") for name in columns if name.endswith("_den")}
        if alone := sorted(numerators ^ denominators):
            lacks = f"{alone[0]}_{'den' if alone[0] in numerators else 'num'}"
            raise PermanentError(f"{file} has no column {lacks}; metric {alone[0]!r} needs both {alone[0]}_num and {alone[0]}_den")
        self.metrics = tuple(name.removesuffix("_num") for name in columns if name.endswith("_num"))

    def looks_like_proportion(self, metric: str) -> bool:
        """Every numerator lies between 0 and its denominator."""
        num, den = (f'TRY_CAST("{_quoted(metric)}_{part}" AS DOUBLE)' for part in ("num", "den"))
        row = self._connection.execute(
            f"SELECT coalesce(bool_and({num} BETWEEN 0 AND {den}), false) FROM {self._reader}",  # noqa: S608 - quoted
            [str(self._file)],
        ).fetchone()
        return bool(row and row[0])

    def experiments(self, metrics: Collection[str], proportions: Collection[str]) -> Iterator[ExperimentUsers]:
        """Each experiment's usable users in the order in which their windows closed; what is not usable is counted.

        Raises:
            PermanentError: the file has no row.
        """
        values = ", ".join(
            f'TRY_CAST("{_quoted(name)}_{part}" AS DOUBLE) AS "{_quoted(name)}_{part}", "{_quoted(name)}_{part}" IS NULL AS "{_quoted(name)}_{part}_empty"'
            for name in metrics
            for part in ("num", "den")
        )
        faults = " ".join(_faults(name, name in proportions) for name in metrics)
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE judged AS
            WITH given AS (
                SELECT experiment::VARCHAR AS experiment, "user"::VARCHAR AS "user", arm::VARCHAR AS arm,
                    TRY_CAST(closed_at AS TIMESTAMPTZ) AS closed_at {"," if values else ""} {values} FROM {self._reader}
            ), checked AS (
                SELECT *, CASE WHEN "user" IS NULL THEN 'no user' WHEN arm IS NULL OR arm NOT IN ('challenger', 'control') THEN 'unknown arm'
                    WHEN closed_at IS NULL THEN 'closed_at is no date' {faults} END AS fault FROM given WHERE experiment IS NOT NULL
            ), once AS (
                SELECT *, row_number() OVER (PARTITION BY experiment, "user", fault IS NULL ORDER BY closed_at) AS entry,
                    min(arm) FILTER (fault IS NULL) OVER (PARTITION BY experiment, "user") < max(arm) FILTER (fault IS NULL) OVER (PARTITION BY experiment, "user")
                        AS in_both FROM checked
            )
            SELECT * EXCLUDE (fault, entry, in_both), CASE WHEN fault IS NOT NULL THEN fault WHEN in_both THEN 'seen in both arms'
                WHEN entry > 1 THEN 'entered before' END AS fault FROM once
            """,  # noqa: S608 - names are quoted
            [str(self._file)],
        )
        names = [row[0] for row in self._connection.execute("SELECT DISTINCT experiment FROM judged ORDER BY 1").fetchall()]
        if not names:
            raise PermanentError(f"{self._file} has no row with an experiment; there is nothing to analyse")
        for name in names:
            yield self._one(name, metrics)

    def _one(self, experiment: str, metrics: Collection[str]) -> ExperimentUsers:
        excluded = self._connection.execute(
            "SELECT fault, count(*) FROM judged WHERE experiment = ? AND fault IS NOT NULL GROUP BY fault ORDER BY fault", [experiment]
        ).fetchall()
        columns = ", ".join(
            f'coalesce("{_quoted(name)}_{part}", 0) AS "{_quoted(name)}_{part}"' for name in metrics for part in ("num", "den")
        )
        rows = self._connection.execute(
            f"""SELECT arm = 'challenger' AS challenger, strftime(closed_at, '%Y-%m-%dT%H:%M:%S.%fZ') AS closed_at {"," if columns else ""} {columns}
            FROM judged WHERE experiment = ? AND fault IS NULL ORDER BY judged.closed_at, "user" """,  # noqa: S608 - names are quoted
            [experiment],
        ).fetchnumpy()
        return ExperimentUsers(
            experiment,
            tuple(map(str, rows["closed_at"])),
            np.asarray(rows["challenger"], dtype=bool),
            {name: (np.asarray(rows[f"{name}_num"], dtype=float), np.asarray(rows[f"{name}_den"], dtype=float)) for name in metrics},
            dict(excluded),
        )


def _faults(name: str, proportion: bool) -> str:
    num, den = f'"{_quoted(name)}_num"', f'"{_quoted(name)}_den"'
    said = name.replace("'", "''")
    empty = f'"{_quoted(name)}_num_empty" AND "{_quoted(name)}_den_empty"'
    outside = f"WHEN {num} < 0 OR {num} > {den} THEN '{said}_num is outside 0 to {said}_den'" if proportion else ""
    return f"""WHEN NOT ({empty}) AND NOT coalesce(isfinite({num}) AND isfinite({den}), false) THEN '{said} is not a finite number'
        WHEN {den} < 0 THEN '{said}_den is negative' {outside}"""


def _quoted(name: str) -> str:
    return name.replace('"', '""')
