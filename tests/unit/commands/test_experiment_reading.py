"""How `csqa experiment analyse` reads a table: what is read in more than one way of writing it, and what is refused by name."""

import gzip
import json
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner, Result

from csqa_loop.commands.experiment import app
from csqa_loop.errors import PermanentError

HEADER = "experiment,user,arm,closed_at,satisfaction_num,satisfaction_den"
GOOD = [f"x,u{n},{'challenger' if n % 2 else 'control'},2026-03-01T00:{n:02},{n % 3 % 2},1" for n in range(40)]


def csv(folder: Path, *lines: str, header: str = HEADER) -> Path:
    file = folder / "users.csv"
    file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return file


def call(file: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["analyse", str(file), "--json", "--burn-in", "10", *options], catch_exceptions=False)


def analysed(file: Path, *options: str) -> dict:
    result = call(file, *options)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    return found


@pytest.fixture
def plain(tmp_path: Path) -> dict:
    (tmp_path / "plain").mkdir()
    return analysed(csv(tmp_path / "plain", *GOOD))


# --- arms -------------------------------------------------------------------------------------------------------------


def renamed(**names: str) -> list[str]:
    return [",".join(names.get(cell, cell) for cell in line.split(",")) for line in GOOD]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            renamed(challenger="new prompt"),
            "line 3: arm 'new prompt' is neither .*; if it is the challenger, give --challenger 'new prompt'",
        ),
        (renamed(control="A"), "line 2: arm 'A' is neither 'challenger' nor 'control'; if it is the control, give --control A"),
        (renamed(challenger="B", control="A"), "--challenger NAME --control NAME; the file has 'A', 'B'"),
        ([*GOOD, "x,h,holdout,2026-03-02,1,1"], "line 42: arm 'holdout' .* take its rows out"),
    ],
)
def test_an_arm_that_is_not_known_is_named_with_what_would_be_right(tmp_path: Path, lines: list[str], says: str):
    with pytest.raises(PermanentError, match=says):
        call(csv(tmp_path, *lines))


def test_arms_have_the_names_that_options_give(tmp_path: Path, plain: dict):
    assert analysed(csv(tmp_path, *renamed(challenger="B", control="A")), "--challenger", "B", "--control", "a") == plain
    assert analysed(csv(tmp_path, *renamed(challenger="treatment")), "--challenger", "treatment") == plain
    assert analysed(csv(tmp_path, *renamed(challenger=" Challenger", control="CONTROL"))) == plain


def test_of_more_than_two_arms_the_named_ones_are_compared(tmp_path: Path, plain: dict):
    lines = [*renamed(challenger="B", control="A"), *(f"x,c{n},C,2026-03-02,0,1" for n in range(30))]
    found = analysed(csv(tmp_path, *lines), "--challenger", "B", "--control", "A")
    assert (found["of_users"], found["excluded"], found["doubt"]) == (40, {"another arm": 30}, None)
    assert (found["verdict"], found["users"], found["metrics"]) == (plain["verdict"], plain["users"], plain["metrics"])


@pytest.mark.parametrize("options", [("--challenger", "control"), ("--challenger", "A", "--control", " a")])
def test_one_name_for_both_arms_is_refused(tmp_path: Path, options: tuple[str, ...]):
    with pytest.raises(PermanentError, match="both arms are called"):
        call(csv(tmp_path, *GOOD), *options)


# --- dates and numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "date",
    ["1.3.2026", "03/01/2026", "01-03-26", "1772323200", "yesterday", "2026-13-01", "infinity", "99999-01-01", "20260301", "0000-00-00"],
)
def test_a_date_that_cannot_be_read_is_an_error(tmp_path: Path, date: str):
    with pytest.raises(PermanentError, match=r"line 42: closed_at is .*" + date + r".* which is no date; what is read is ISO 8601"):
        call(csv(tmp_path, *GOOD, f"x,a,control,{date},1,1"))


@pytest.mark.parametrize("date", ["2026-03-01", "2026-03-01 00:00:00Z", "2026-03-01T01:00:00+0100", "2026-03-01T00:00:00.000000001"])
def test_dates_are_read_in_every_form_of_iso_8601_that_is_in_use(tmp_path: Path, date: str):
    found = analysed(csv(tmp_path, *GOOD, f"x,a,control,{date},1,1"))
    assert (found["of_users"], found["excluded"]) == (41, {})


@pytest.mark.parametrize("number", ["many", "1.234,5", "1 234", "#DIV/0!", "yes", "0x1", "50%"])
@pytest.mark.parametrize("column", [4, 5])
def test_a_number_that_cannot_be_read_is_an_error(tmp_path: Path, number: str, column: int):
    cells = ["x", "a", "control", "2026-03-01", "1", "1"]
    cells[column] = f'"{number}"'
    with pytest.raises(
        PermanentError, match=r"line 42: satisfaction_(num|den) is .*, which is no number; what is read is digits and a decimal"
    ):
        call(csv(tmp_path, *GOOD, ",".join(cells)))


def test_the_first_of_several_is_named_by_its_line(tmp_path: Path):
    file = csv(tmp_path, *GOOD[:5], 'x,"a\nb",control,2026-03-01,1,1', "x,c,control,2026-03-01,few,1", "x,d,control,never,1,1", *GOOD[5:])
    with pytest.raises(PermanentError, match="line 9: satisfaction_num is 'few'"):
        call(file)


def test_parquet_is_refused_by_row(tmp_path: Path):
    parquet = tmp_path / "users.parquet"
    csv(tmp_path, *GOOD[:6], "x,a,control,1.3.2026,1,1")
    duckdb.execute(f"COPY (SELECT * FROM read_csv('{tmp_path}/users.csv', all_varchar = true)) TO '{parquet}'")
    with pytest.raises(PermanentError, match="row 7: closed_at is '1.3.2026'"):
        call(parquet)


def test_true_and_false_are_one_and_none(tmp_path: Path, plain: dict):
    lines = [line[: -len("0,1")] + ("True" if line.endswith("1,1") else "FALSE") + ",1" for line in GOOD]
    assert analysed(csv(tmp_path, *lines)) == plain


# --- the header -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "Unnamed: 0.1"])
def test_an_unnamed_column_is_named_and_left_out(tmp_path: Path, plain: dict, name: str):
    found = analysed(csv(tmp_path, *(f"{n},{line}" for n, line in enumerate(GOOD)), header=f"{name},{HEADER}"))
    assert found["notes"].pop(0) == f"column 1 ({name!r}) has no name: left out"
    assert found == plain


def test_an_unnamed_column_of_parquet_too(tmp_path: Path, plain: dict):
    parquet = tmp_path / "users.parquet"
    csv(tmp_path, *GOOD)
    duckdb.execute(f"""COPY (SELECT *, 7 AS "__index_level_0__" FROM read_csv('{tmp_path}/users.csv')) TO '{parquet}'""")
    found = analysed(parquet)
    assert found["notes"].pop(0) == "column 7 ('__index_level_0__') has no name: left out"
    assert found == plain


def test_columns_that_are_not_read_are_named(tmp_path: Path):
    found = analysed(csv(tmp_path, *(f"{line},de,1" for line in GOOD), header=f"{HEADER},Country,age"))
    assert "columns that are not read: Country, age" in found["notes"]


@pytest.mark.parametrize(
    "header",
    [HEADER.upper(), HEADER.title(), " , ".join(HEADER.split(",")), HEADER.replace("_", " "), '"' + HEADER.replace(",", '","') + '"'],
)
def test_headers_are_read_in_capitals_with_blanks_and_in_quotes(tmp_path: Path, plain: dict, header: str):
    assert analysed(csv(tmp_path, *GOOD, header=header)) == plain


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_line_that_names_the_separator_is_read(tmp_path: Path, plain: dict, separator: str):
    lines = [line.replace(",", separator) for line in (HEADER, *GOOD)]
    assert analysed(csv(tmp_path, *lines[1:], header=lines[0])) == plain
    assert analysed(csv(tmp_path, *lines, header=f"sep={separator}")) == plain
    with pytest.raises(PermanentError, match="line 43: closed_at is 'now'"):
        call(csv(tmp_path, *lines, "x,a,control,now,1,1".replace(",", separator), header=f"sep={separator}"))


def test_a_packed_file_is_read_and_its_lines_are_named(tmp_path: Path, plain: dict):
    packed = tmp_path / "users.csv.gz"
    packed.write_bytes(gzip.compress("\n".join([HEADER, *GOOD, ""]).encode()))
    assert analysed(packed) == plain
    packed.write_bytes(gzip.compress("\n".join([HEADER, *GOOD, "x,a,control,now,1,1", ""]).encode()))
    with pytest.raises(PermanentError, match="line 42: closed_at is 'now'"):
        call(packed)


def test_a_header_that_lacks_a_column_is_shown(tmp_path: Path):
    with pytest.raises(PermanentError, match="no column user, arm; .* Its header has 'experiment', 'user_id', 'variant', 'closed_at'"):
        call(csv(tmp_path, header=HEADER.replace("user", "user_id").replace("arm", "variant")))
