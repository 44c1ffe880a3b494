"""`csqa experiment analyse` on tables that are not as they should be."""

import json
import re
import warnings
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner, Result

from csqa_loop.commands.experiment import app
from csqa_loop.errors import PermanentError

HEADER = "experiment,user,arm,closed_at,satisfaction_num,satisfaction_den,smiles_num,smiles_den"
GOOD = [f"x,u{n},{'challenger' if n % 2 else 'control'},2026-03-01T00:{n:02},{n % 3 % 2},1,0,1" for n in range(40)]


def csv(folder: Path, *lines: str, header: str = HEADER, name: str = "users.csv") -> Path:
    file = folder / name
    file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return file


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def analysed(file: Path, *options: str) -> dict:
    result = call("analyse", str(file), "--json", "--burn-in", "10", *options)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    return found


def test_one_object_an_experiment_with_the_promised_keys(tmp_path: Path):
    found = analysed(csv(tmp_path, *GOOD))
    assert list(found)[:8] == ["experiment", "verdict", "as_of", "users", "estimate", "lower", "upper", "stopped_by"]


@pytest.mark.parametrize("names", ["{arm}-{n:03}", "{n:03}-{arm}"])
def test_users_who_closed_at_the_same_moment_are_looked_at_together(tmp_path: Path, names: str):
    arms = [("challenger", "control")[n % 2] for n in range(120)]
    lines = [f"x,{names.format(arm=arm, n=n)},{arm},2026-03-0{1 + n // 60},{n // 2 % 2},1,0,1" for n, arm in enumerate(arms)]
    found = analysed(csv(tmp_path, *lines))
    assert (found["verdict"], found["users"]) == ("CONTINUE", 120)
    (tmp_path / "again").mkdir()
    backwards = analysed(csv(tmp_path / "again", *reversed(lines)), "--max-users", "30")
    assert (backwards["verdict"], backwards["users"], backwards["arms"]) == ("INCONCLUSIVE", 60, {"challenger": 30, "control": 30})


def test_whoever_saw_both_arms_is_left_out_though_one_row_is_faulty(tmp_path: Path):
    found = analysed(csv(tmp_path, *GOOD, "x,both,challenger,2026-03-01,1,1,0,1", "x,both,control,2026-03-01,inf,1,0,1"))
    assert found["of_users"] == 40
    assert found["excluded"] == {"satisfaction is not a finite number": 1, "seen in both arms": 1}


def test_a_fault_in_a_metric_that_decides_nothing_costs_only_that_metric(tmp_path: Path):
    file = csv(tmp_path, *GOOD, "x,odd,control,2026-03-01,1,1,inf,1")
    found = analysed(file)
    assert (found["of_users"], found["excluded"]) == (41, {"smiles is not a finite number (this metric only)": 1})
    smiles = next(row for row in found["metrics"] if (row["metric"], row["arm"]) == ("smiles", "difference"))
    assert smiles["users"] == 40
    judged = analysed(file, "--margin", "smiles=0.9")
    assert (judged["of_users"], judged["excluded"]) == (40, {"smiles is not a finite number": 1})


def test_rows_without_an_experiment_are_counted(tmp_path: Path):
    found = analysed(csv(tmp_path, *GOOD, ",a,control,2026-03-01,1,1,0,1", "  ,b,control,2026-03-01,1,1,0,1"))
    assert "2 rows of the file name no experiment: left out" in found["notes"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["x,short", *GOOD], "Line: 2"),
        (["x,u,control,2026-03-01,1,1,0,1,9", *GOOD], "Line: 2"),
        ([*GOOD * 1000, "x,short"], "Line: 40002"),
    ],
)
def test_a_row_with_a_wrong_number_of_cells_is_named(tmp_path: Path, lines: list[str], says: str):
    with pytest.raises(PermanentError, match=f"users.csv cannot be read .*{says}"):
        call("analyse", str(csv(tmp_path, *lines)))


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (HEADER + ",_num,_den", "'_num', which names no metric"),
        (HEADER + ",smiles_num", "column smiles_num twice"),
    ],
)
def test_columns_that_name_no_metric_of_their_own_are_refused(tmp_path: Path, header: str, says: str):
    with pytest.raises(PermanentError, match=says):
        call("analyse", str(csv(tmp_path, header=header)))


def test_a_folder_and_a_pattern_are_no_files(tmp_path: Path):
    csv(tmp_path, *GOOD)
    with pytest.raises(PermanentError, match="a folder"):
        call("analyse", str(tmp_path))
    with pytest.raises(PermanentError, match=re.escape("*.csv cannot be read: no such file")):
        call("analyse", str(tmp_path / "*.csv"))
    assert analysed(csv(tmp_path, *GOOD[:20], name="user[s]*.csv"))["of_users"] == 20
    duckdb.execute(f"COPY (SELECT * FROM read_csv('{tmp_path}/users.csv')) TO '{tmp_path}/user?.parquet'")
    assert analysed(tmp_path / "user?.parquet")["of_users"] == 40


def test_semicolons_and_a_byte_order_mark_are_read(tmp_path: Path):
    lines = [line.replace(",", ";") for line in ("﻿" + HEADER, *GOOD)]
    assert analysed(csv(tmp_path, *lines[1:], header=lines[0])) == analysed(csv(tmp_path, *GOOD))


def test_values_beyond_numbers_are_left_out(tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = analysed(
            csv(
                tmp_path, *GOOD, "x,c,control,2026-03-01,1e200,1e200,0,1",
                "x,d,control,2026-03-01,0,1e-200,0,1", "x,e,control,2026-03-01,1,1,1e200,1",
            )
        )  # fmt: skip
    assert found["excluded"] == {
        "satisfaction is beyond 1e30": 2, "smiles is beyond 1e30 (this metric only)": 1,
    }  # fmt: skip


def test_of_two_rows_of_the_same_moment_the_file_s_order_does_not_choose(tmp_path: Path):
    twice = ["x,t,control,2026-03-01,1,1,0,1", "x,t,control,2026-03-01,0,1,0,1"]
    one, other = analysed(csv(tmp_path, *GOOD, *twice)), analysed(csv(tmp_path, *GOOD, *reversed(twice)))
    assert [found.pop("exclusions")[0]["reason"] for found in (one, other)] == ["entered before"] * 2
    assert one == other


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--max-users", "10", "--burn-in", "50"), "burn-in of 50 .* more than max-users 10"),
        (("--max-users", "10"), "burn-in of 200 .* more than max-users 10"),
        (("--margin", "satisfaction=0.1"), "satisfaction is the primary"),
        (("--margin", "smiles=0.1", "--margin", "smiles=0.2"), "smiles is given twice"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, options: tuple[str, ...], says: str):
    with pytest.raises(PermanentError, match=says):
        call("analyse", str(csv(tmp_path, *GOOD)), *options)


@pytest.mark.parametrize("effect", ["nan", "inf", "5", "-0.7"])
def test_an_effect_that_cannot_be_is_refused(effect: str):
    with pytest.raises(PermanentError, match=r"--effect .* is outside -0\.6 to 0\.4"):
        call("simulate", "--n", "10", "--effect", effect)
