"""What an import tells: the encoding, the rows with the first reason, each column, then the rest."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from csqa_loop.commands.data import app
from csqa_loop.errors import PermanentError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CSQA_VAR", str(tmp_path / "var"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def written(name: str, text: str, encoding: str = "utf-8") -> Path:
    file = Path(name)
    file.write_bytes(text.encode(encoding))
    return file


def test_a_report_begins_with_encoding_rows_and_columns() -> None:
    text = "frage;question;answer\nx;Où est mon colis ?;Il est déjà arrivé à Orléans.\ny;À qui écrire ?;\n"
    file = written("a.csv", text, "cp1252")
    for command in (("import", file, "--dry-run"), ("report", file)):
        first, rows, columns, *rest = run(*command).splitlines()
        assert first == "a.csv: csv, encoding cp1252 (a guess)"
        assert rows.startswith("rows: 2; 1 taken, 0 held, 1 refused; line 3 refused: its answer is empty")
        assert columns == "columns: frage: NOT READ; question: question; answer: chosen"
        assert rest[0].startswith("warning: the encoding is a guess: cp1252")
        assert rest[1] == "warning: not read: 'frage'; --columns ROLE=NAME gives a column its role"
        # Two rows need no tables.
        assert "┃" not in "".join(rest)
        told: dict[str, Any] = json.loads(run(*command, "--json"))
        assert list(told)[:9] == [
            "file", "format", "encoding", "encoding_guessed", "rows", "row_verdicts", "examples", "first", "columns",
        ]  # fmt: skip
        assert (told["encoding"], told["encoding_guessed"]) == ("cp1252", True)
        assert told["row_verdicts"] == {"accepted": 1, "held": 0, "refused": 1}
        assert told["columns"][0] == {"column": "frage", "read_as": None, "rows": 2, "unread": 2}


def test_warnings_stand_before_tables() -> None:
    rows = [
        json.dumps({"question": f"Where is item {n}?", "answer": f"On shelf {n} it is.", "extra": n, "category": f"c{n % 3}"})
        for n in range(30)
    ]
    said = run("report", written("a.jsonl", "\n".join(rows)))
    assert said.index("not read: 'extra'") < said.index("Categories")
    # One split and one language tell nothing that the number of rows does not.
    assert "Splits" not in said
    assert "Languages" not in said


def test_the_first_reason_stands_on_the_line_of_the_error() -> None:
    file = written("a.csv", "question,answer\nWhere?,\nWhy?,\n")
    with pytest.raises(PermanentError, match="no row can be used: line 2: its answer is empty; .*every reason is in"):
        run("import", file, "--dry-run")
    with pytest.raises(PermanentError, match="no row can be used: line 2: its answer is empty"):
        run("split", file, "--out", "parts")


def test_what_was_done_to_rows_is_said() -> None:
    turns = [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": "<think>x</think>On the shelf."},
        {"role": "user", "content": "Oh."},
    ]
    said = run("import", written("a.jsonl", json.dumps({"messages": turns})), "--dry-run")
    assert "in 1 row: a model's reasoning is taken off answers" in said
    assert "in 1 row: turns after the last answer are left out" in said


@pytest.mark.parametrize("command", ["import", "report", "split", "augment"])
def test_every_command_takes_an_encoding(command: str) -> None:
    file = written("a.csv", "question,answer\nWo?,Ja n\xe4chste.\n", "cp1252")
    more = {"import": ("--dry-run",), "split": ("--out", "parts"), "augment": ("--out", "more.jsonl")}.get(command, ())
    run(command, file, *more, "--encoding", "windows-1252", "--json")
    with pytest.raises(PermanentError, match="--encoding 'klingon' is no encoding that is read here; name one of utf_8"):
        run(command, file, *more, "--encoding", "klingon")


def test_a_rating_is_read_by_the_numbers_of_its_file() -> None:
    ratings = [1, 5, 3, 4]
    rows = "".join(f"Where is item {n}?,On shelf {n} it is.,{rating}\n" for n, rating in enumerate(ratings))
    told = json.loads(run("report", written("a.csv", "question,answer,rating\n" + rows), "--json"))
    assert (told["labels"], told["row_verdicts"]["refused"]) == ({"disliked": 1, "liked": 2}, 1)
    assert told["columns"][-1]["read_as"] == "liked"
