"""`csqa experiment` on files of the test's own."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from csqa_loop.commands import experiment
from csqa_loop.commands.experiment import app
from csqa_loop.errors import PermanentError
from tests.console_answers import EXPERIMENT, telling

START = datetime(2026, 3, 1, tzinfo=UTC)
HEADER = "experiment,user,arm,closed_at,satisfaction_num,satisfaction_den,error_num,error_den"


def rows(name: str, users: int, up: tuple[float, float], seed: int = 1) -> list[str]:
    """Users of both arms in turn, shuffled in the file."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(users):
        arm = number % 2
        thumbs = int(rng.integers(1, 4))
        moment = (START + timedelta(minutes=number)).isoformat()
        made.append(
            f"{name},u{number},{'challenger' if arm == 0 else 'control'},{moment},{rng.binomial(thumbs, up[arm])},{thumbs},0,{thumbs}"
        )
    rng.shuffle(made)
    return made


def csv(folder: Path, *lines: str, header: str = HEADER) -> Path:
    file = folder / "users.csv"
    file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return file


def analysed(file: Path, *options: str) -> list[dict]:
    result = call("analyse", str(file), "--json", "--burn-in", "50", *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_each_experiment_gets_the_verdict_as_it_fell(tmp_path: Path):
    file = csv(tmp_path, *rows("better", 1200, (0.8, 0.5)), *rows("same", 1200, (0.6, 0.6)), *rows("worse", 1200, (0.4, 0.7)))
    better, same, worse = analysed(file)
    assert [found["experiment"] for found in (better, same, worse)] == ["better", "same", "worse"]
    assert [found["verdict"] for found in (better, same, worse)] == ["PROMOTE", "CONTINUE", "ROLL_BACK"]
    assert better["lower"] > 0 > worse["upper"]
    assert better["lower"] < better["estimate"] < better["upper"]
    assert 100 <= better["users"] < 1200
    assert better["as_of"] == (START + timedelta(minutes=better["users"] - 1)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    assert "lower bound of satisfaction" in better["stopped_by"]
    assert same["users"] == same["of_users"] == 1200
    assert better["fixed_horizon"]["caution"].startswith("fixed horizon")


def test_a_verdict_needs_no_later_user(tmp_path: Path):
    lines = sorted(rows("better", 1200, (0.8, 0.5)), key=lambda line: line.split(",")[3])
    (whole,) = analysed(csv(tmp_path, *lines))
    (cut,) = analysed(csv(tmp_path, *lines[: whole["users"]]))
    (short,) = analysed(csv(tmp_path, *lines[: whole["users"] - 1]))
    assert (cut["verdict"], cut["as_of"], cut["lower"]) == (whole["verdict"], whole["as_of"], whole["lower"])
    assert short["verdict"] == "CONTINUE"


def test_parquet_says_what_csv_says(tmp_path: Path):
    file = csv(tmp_path, *rows("better", 600, (0.9, 0.5)))
    parquet = tmp_path / "users.parquet"
    duckdb.execute(f"COPY (SELECT * FROM read_csv('{file}')) TO '{parquet}'")
    assert analysed(parquet) == analysed(file)


def test_what_is_no_user_is_counted_and_left_out(tmp_path: Path):
    good = rows("x", 400, (0.6, 0.6))
    moment = START.isoformat()
    bad = [
        f"x,a1,,{moment},1,1,0,1",
        "x,a2,control,,1,1,0,1",
        f"x,a3,control,{moment},,1,0,1",
        f"x,a4,control,{moment},nan,1,0,1",
        f"x,a4,control,{moment},1,,0,1",
        f"x,a5,control,{moment},1,inf,0,1",
        f"x,a6,control,{moment},1,-1,0,1",
        f"x,a7,control,{moment},2,1,0,1",
        f"x,a8,control,{moment},1,1,0,1", f"x,a8,challenger,{moment},1,1,0,1",
        f"x,a9,control,{moment},1,1,0,1", f"x,a9,control,{moment},1,1,0,1",
        f"x,,control,{moment},1,1,0,1",
    ]  # fmt: skip
    (plain,), (found,) = analysed(csv(tmp_path, *good)), analysed(csv(tmp_path, *good, *bad))
    assert found["of_users"] == plain["of_users"] + 1
    assert found["excluded"] == {
        "no arm": 1, "closed_at is empty": 1, "satisfaction is not a finite number": 1, "satisfaction_den is negative": 1,
        "satisfaction_num is empty": 2, "satisfaction_den is empty": 1, "satisfaction_num is outside 0 to satisfaction_den": 1, "seen in both arms": 2, "entered before": 1, "no user": 1,
    }  # fmt: skip


def test_empty_cells_are_users_without_anything_to_say(tmp_path: Path):
    (found,) = analysed(csv(tmp_path, *rows("x", 300, (0.6, 0.6)), f"x,quiet,control,{START.isoformat()},,,0,1"))
    assert found["excluded"] == {}
    assert found["users"] == 301


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("experiment,user,closed_at,satisfaction_num,satisfaction_den", "no column arm"),
        ("experiment,user,arm,closed_at,satisfaction_num", "no column satisfaction_den"),
        ("experiment,user,arm,closed_at,error_num,error_den", "'satisfaction' has no columns satisfaction_num"),
        (HEADER, "no row with an experiment"),
    ],
)
def test_a_file_that_is_no_table_of_users_is_refused(tmp_path: Path, header: str, says: str):
    with pytest.raises(PermanentError, match=says):
        call("analyse", str(csv(tmp_path, header=header)), "--json")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(PermanentError, match="cannot be read"):
        call("analyse", str(tmp_path / "none.parquet"))


@pytest.mark.parametrize(("margin", "says"), [("error", "not NAME=VALUE"), ("error=-1", "above 0"), ("smiles=1", "no columns smiles_num")])
def test_a_wrong_margin_is_refused(tmp_path: Path, margin: str, says: str):
    with pytest.raises(PermanentError, match=says):
        call("analyse", str(csv(tmp_path, *rows("x", 10, (0.6, 0.6)))), "--margin", margin)


def test_options_come_before_settings(tmp_path: Path):
    file = csv(tmp_path, *rows("better", 1200, (0.8, 0.5)))
    (strict,), (lax,) = analysed(file, "--alpha", "0.001"), analysed(file, "--alpha", "0.2")
    assert strict["users"] > lax["users"]
    (tight,) = analysed(file, "--margin", "error=0.0001")
    assert tight["verdict"] == "CONTINUE"
    assert "upper bound of error" in tight["stopped_by"]
    (short,) = analysed(csv(tmp_path, *rows("same", 400, (0.6, 0.6))), "--max-users", "100")
    assert (short["verdict"], short["users"]) == ("INCONCLUSIVE", 200)


def test_an_undeclared_metric_is_read_by_its_values_and_says_so(tmp_path: Path):
    lines = [line.replace("better", "b") for line in rows("better", 900, (0.8, 0.5))]
    header = HEADER.replace("satisfaction", "smiles")
    (found,) = analysed(csv(tmp_path, *lines, header=header), "--primary", "smiles")
    assert found["verdict"] == "PROMOTE"
    assert "smiles is not declared in the settings: read as a proportion of which higher is better" in found["notes"]


def test_text_says_the_same(tmp_path: Path):
    text = call("analyse", str(csv(tmp_path, *rows("better", 1200, (0.8, 0.5)))), "--burn-in", "50").stdout
    assert "better: PROMOTE after" in text
    assert "valid only for one look planned in advance" in text
    assert "not judged, for the file has no columns of them: handoff" in text


def test_a_hundred_thousand_users_are_judged_within_seconds(tmp_path: Path):
    file = tmp_path / "many.parquet"
    duckdb.execute(
        f"""COPY (SELECT 'x' AS experiment, i AS "user", CASE WHEN hash(i) % 2 = 0 THEN 'challenger' ELSE 'control' END AS arm,
        TIMESTAMPTZ '2026-01-01' + to_seconds(i) AS closed_at, (hash(i, 1) % 10 < 6)::INT AS satisfaction_num, 1 AS satisfaction_den,
        (hash(i, 2) % 5000 = 0)::INT AS error_num, 1 AS error_den FROM range(100000) r(i)) TO '{file}'"""
    )
    (found,) = analysed(file, "--max-users", "100000")
    assert found["users"] == 100_000


def test_simulate_reports_rates_with_intervals(tmp_path: Path):
    plot = tmp_path / "power.png"
    arguments = (
        "simulate",
        "--n",
        "20",
        "--users",
        "60",
        "--burn-in",
        "40",
        "--effect",
        "0.3",
        "--effect",
        "-0.2",
        "--json",
        "--plot",
        str(plot),
    )
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert set(told["power"]) == {"+0.3"}
    assert set(told["harm_shipped"]) == {"effect -0.2", "handoff +0.05, its margin"}
    rate = told["false_promotion"]["confidence_sequence"]
    assert 0 <= rate["lower"] <= rate["share"] <= rate["upper"] <= 1
    assert told["scenarios"][0]["rules"]["peeking_t_test"]["rolled_back"] is None
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert json.loads(call(*arguments).stdout) == told


def test_show_asks_the_console(monkeypatch: pytest.MonkeyPatch):
    told = EXPERIMENT | {"id": "x 1"}
    asked = []
    monkeypatch.setattr(experiment, "ask_console", telling(lambda path: asked.append(path) or told))
    assert "2 users who saw both arms" in call("show", "x 1").stdout
    assert json.loads(call("show", "x 1", "--json").stdout) == told
    assert asked == ["/v1/experiments/x%201"] * 2
