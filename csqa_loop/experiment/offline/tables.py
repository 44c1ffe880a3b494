"""Tables of experiments' users, from Parquet or CSV."""

import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from csqa_loop.errors import PermanentError
from csqa_loop.experiment.offline.columns import MACROS, Columns, CsvLayout, faults_of, quoted, text
from csqa_loop.experiment.offline.rules.exclusions import ARMS, Exclusion
from csqa_loop.experiment.offline.rules.hindsight import ExperimentUsers

_PARQUET = {".parquet", ".pq"}
_OTHER_ARM = "another arm"
_DATE = "ISO 8601, the year first, such as 2026-05-01T00:00:00Z"
_NUMBER = "digits and a decimal point, such as 1234.5 (no sign between thousands), or true and false"


@dataclass(frozen=True)
class ArmNames:
    """How a file calls the two arms."""

    challenger: str | None = None
    control: str | None = None

    @property
    def both(self) -> tuple[str, str]:
        """Challenger, control: as named, or by these very words."""
        return self.challenger or "challenger", self.control or "control"


class UserTable:
    """A file with the columns experiment, user, arm, closed_at, and NAME_num and NAME_den for each metric NAME."""

    def __init__(self, file: Path, arms: ArmNames | None = None) -> None:
        """Read the file.

        Raises:
            PermanentError: it is missing or unreadable, lacks a column, or has an arm, a date or a number that cannot be read.
        """
        self._file, self._arms = file, arms or ArmNames()
        if not file.is_file():
            raise PermanentError(f"{file} cannot be read: {'a folder' if file.is_dir() else 'no such file'}; name a Parquet or CSV file")
        if len({name.strip().lower() for name in self._arms.both}) == 1:
            raise PermanentError(f"both arms are called {self._arms.both[0]!r}; --challenger and --control need a name each")
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute(MACROS)
        self._layout = None if file.suffix.lower() in _PARQUET else CsvLayout.of(file)
        self._columns = self._load()
        self.metrics = self._columns.metrics
        self._refuse_unknown_arms()
        self._refuse_unreadable()

    def _load(self) -> Columns:
        """Every cell as text, and the number of its row."""
        if self._layout is None:
            reader = f"read_parquet({_glob(self._file)})"
            columns = Columns.of(self._file, [row[0] for row in self._ask(f"DESCRIBE SELECT * FROM {reader}").fetchall()])  # noqa: S608 - quoted
        else:
            columns = Columns.of(self._file, self._layout.header)
            # Read by its own header: what would be guessed of a file with a short row near the top is another one.
            fields = ", ".join(f"{text(name)}: 'VARCHAR'" for name in columns.names)
            reader = (
                f"read_csv({_glob(self._file)}, auto_detect = false, header = true, skip = {self._layout.skipped}, "
                f"delim = {text(self._layout.separator)}, quote = '\"', escape = '\"', columns = {{{fields}}})"
            )
        names = ", ".join(map(quoted, columns.names))
        cells = ", ".join(f"{quoted(name)}::VARCHAR AS {quoted(name)}" for name in columns.names if not name.startswith("#"))
        challenger, control = (text(name.strip().lower()) for name in self._arms.both)
        self._ask(
            f"""CREATE TEMP TABLE given AS SELECT row_number() OVER () AS row, {cells},
            CASE lower(cell("arm"::VARCHAR)) WHEN {challenger} THEN 'challenger' WHEN {control} THEN 'control' END AS side,
            cell(experiment::VARCHAR) IS NOT NULL AS named FROM (SELECT * FROM {reader}) AS t({names})"""  # noqa: S608 - quoted
        )
        return columns

    def _ask(self, query: str) -> duckdb.DuckDBPyConnection:
        try:
            return self._connection.execute(query)
        except duckdb.Error as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            reason = "; ".join(lines[:3] if "CSV Error on Line" in lines[0] else lines[:1])
            raise PermanentError(
                f"{self._file} cannot be read ({reason}); name a Parquet file (.parquet), or a CSV file in UTF-8 with a header"
            ) from error

    def _refuse_unknown_arms(self) -> None:
        unknown = self._ask(
            "SELECT cell(arm), min(row) FROM given WHERE named AND side IS NULL AND cell(arm) IS NOT NULL GROUP BY 1 ORDER BY 2"
        ).fetchall()
        if not unknown or (self._arms.challenger and self._arms.control):
            return
        (name, row), others = unknown[0], [other for other, _ in unknown]
        present = {side for (side,) in self._ask("SELECT DISTINCT side FROM given WHERE named").fetchall()}
        missing = [arm for arm in ARMS if arm not in present]
        if len(missing) == len(others) == 1:
            right = f"if it is the {missing[0]}, give --{missing[0]} {shlex.quote(name)}"
        elif missing:
            right = f"say which is which with --challenger NAME --control NAME; the file has {', '.join(map(repr, others))}"
        else:
            right = "take its rows out of the file, or name both arms with --challenger NAME --control NAME: other arms are left out then"
        raise PermanentError(
            f"{self._file}, {self._place(row)}: arm {name!r} is neither {' nor '.join(map(repr, self._arms.both))}; {right}"
        )

    def _refuse_unreadable(self) -> None:
        """Raise for the first cell that holds something and not what its column holds."""
        cells = {"closed_at": ("moment", "date", _DATE)}
        cells |= {f"{name}_{part}": ("number", "number", _NUMBER) for name in self.metrics for part in ("num", "den")}
        found: list[tuple[int, str, str]] = []
        for name, (read, *_) in cells.items():
            column = quoted(name)
            found += self._ask(
                f"SELECT row, {text(name)}, {column} FROM given WHERE named AND cell({column}) IS NOT NULL AND {read}({column}) IS NULL "  # noqa: S608 - quoted
                "ORDER BY row LIMIT 1"
            ).fetchall()
        for row, name, value in sorted(found)[:1]:
            raise PermanentError(
                f"{self._file}, {self._place(row)}: {name} is {value!r}, which is no {cells[name][1]}; what is read is {cells[name][2]}"
            )

    def _place(self, row: int) -> str:
        return self._places([row])[row]

    def _places(self, rows: Collection[int]) -> dict[int, str]:
        lines = self._layout.lines_of(self._file, rows) if self._layout else {}
        return {row: f"line {lines[row]}" if row in lines else f"row {row}" for row in rows}

    @property
    def notes(self) -> list[str]:
        """What of the file is not read, in words."""
        row = self._ask("SELECT count(*) FILTER (NOT named) FROM given").fetchone()
        nameless = [f"{row[0]} rows of the file name no experiment: left out"] if row and row[0] else []
        return [*self._columns.notes, *nameless]

    def looks_like_proportion(self, metric: str) -> bool:
        """Every numerator lies between 0 and its denominator."""
        num, den = (f"number({quoted(f'{metric}_{part}')})" for part in ("num", "den"))
        inside = f"coalesce(bool_and({num} BETWEEN 0 AND {den}) FILTER (isfinite({num}) AND isfinite({den})), false)"
        row = self._ask(f"SELECT {inside} FROM given WHERE named").fetchone()  # noqa: S608 - quoted
        return bool(row and row[0])

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
        parts = [quoted(f"{name}_{part}") for name in metrics for part in ("num", "den")]
        values = "".join(f", number({part}) AS {part}" for part in parts)
        faults = "".join(f", CASE {faults_of(name, name in proportions)} END AS {quoted(f'{name}_fault')}" for name in metrics)
        first_fault = ", ".join([quoted(f"{name}_fault") for name in metrics if name in judged] or ["NULL"])
        # Which of two rows of the same moment counts must not depend on their place in the file.
        order = "".join(f", {part}" for part in parts)
        self._ask(
            f"""
            CREATE OR REPLACE TEMP TABLE judged AS
            WITH valued AS (
                SELECT row, experiment, cell("user") AS "user", side, cell(arm) IS NOT NULL AS armed, moment(closed_at) AS closed_at {values} FROM given WHERE named
            ), checked AS (
                SELECT *, CASE WHEN side IS NULL THEN CASE WHEN armed THEN '{_OTHER_ARM}' ELSE 'no arm' END WHEN "user" IS NULL THEN 'no user'
                    WHEN closed_at IS NULL THEN 'closed_at is empty' ELSE coalesce({first_fault}) END AS fault
                FROM (SELECT * {faults} FROM valued)
            ), once AS (
                SELECT *, row_number() OVER (PARTITION BY experiment, "user", fault IS NULL ORDER BY closed_at {order}) AS entry,
                    min(side) OVER (PARTITION BY experiment, "user") < max(side) OVER (PARTITION BY experiment, "user") AS in_both FROM checked
            )
            SELECT * EXCLUDE (fault, entry, in_both, armed), CASE WHEN fault IS NOT NULL THEN fault WHEN in_both THEN 'seen in both arms'
                WHEN entry > 1 THEN 'entered before' END AS fault FROM once
            """  # noqa: S608 - names are quoted
        )
        names = [row[0] for row in self._ask("SELECT DISTINCT experiment FROM judged ORDER BY 1").fetchall()]
        if not names:
            raise PermanentError(f"{self._file} has no row with an experiment; there is nothing to analyse")
        for name in names:
            yield self._one(name, metrics)

    def _one(self, experiment: str, metrics: Collection[str]) -> ExperimentUsers:
        columns = "".join(
            f", CASE WHEN {quoted(f'{name}_fault')} IS NULL THEN coalesce({quoted(f'{name}_{part}')}, 0) ELSE 0 END AS {quoted(f'{name}_{part}')}"
            for name in metrics
            for part in ("num", "den")
        )
        silent = "".join(
            f", {quoted(f'{name}_num')} IS NULL AND {quoted(f'{name}_den')} IS NULL AS {quoted(f'{name}_silent')}" for name in metrics
        )
        rows = self._connection.execute(
            f"""SELECT side = 'challenger' AS challenger, strftime(closed_at, '%Y-%m-%dT%H:%M:%S.%fZ') AS closed_at {columns} {silent}
            FROM judged WHERE experiment = ? AND fault IS NULL ORDER BY judged.closed_at, "user" """,  # noqa: S608 - names are quoted
            [experiment],
        ).fetchnumpy()
        return ExperimentUsers(
            experiment,
            tuple(map(str, rows["closed_at"])),
            np.asarray(rows["challenger"], dtype=bool),
            {name: (np.asarray(rows[f"{name}_num"], dtype=float), np.asarray(rows[f"{name}_den"], dtype=float)) for name in metrics},
            {name: np.asarray(rows[f"{name}_silent"], dtype=bool) for name in metrics},
            self._excluded(experiment, metrics),
        )

    def _excluded(self, experiment: str, metrics: Collection[str]) -> tuple[Exclusion, ...]:
        """By reason and arm, with the first row of each."""
        found: list[tuple[str, str | None, int, int, bool]] = self._connection.execute(
            "SELECT fault, side, count(*), min(row), true FROM judged WHERE experiment = ? AND fault IS NOT NULL GROUP BY ALL ORDER BY ALL",
            [experiment],
        ).fetchall()
        for name in metrics:
            fault = quoted(f"{name}_fault")
            found += self._connection.execute(
                f"SELECT {fault} || ' (this metric only)' AS said, side, count(*), min(row), false FROM judged "  # noqa: S608 - quoted
                f"WHERE experiment = ? AND fault IS NULL AND {fault} IS NOT NULL GROUP BY ALL ORDER BY ALL",
                [experiment],
            ).fetchall()
        places = self._places({row for *_, row, _ in found})
        return tuple(
            Exclusion(
                next((arm for arm in ARMS if arm == side), None), reason, rows, self._example(row, places[row], reason, metrics),
                counts=whole and reason != _OTHER_ARM,
            )
            for reason, side, rows, row, whole in found
        )  # fmt: skip

    def _example(self, row: int, place: str, reason: str, metrics: Collection[str]) -> str:
        """Where it is, and the cells that the reason is about."""
        about = [f"{name}_{part}" for name in metrics if reason.startswith((f"{name}_", f"{name} ")) for part in ("num", "den")]
        names = ["user", *([] if about or reason.startswith("no ") else ["arm", "closed_at"]), *about]
        cells = self._connection.execute(f"SELECT {', '.join(map(quoted, names))} FROM given WHERE row = ?", [row]).fetchone() or ()  # noqa: S608 - quoted
        said = [f"{name} {(value or '')!r}" for name, value in zip(names, cells, strict=True)]
        return f"{place}: {', '.join(said)}"


def _glob(file: Path) -> str:
    """DuckDB reads a name as a pattern; in brackets a sign of one stands for itself."""
    return text("".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(file)))
