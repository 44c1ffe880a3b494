"""`csqa reviews` against the real console: files go out, come back filled in, and decide once."""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from openpyxl import Workbook, load_workbook
from typer.testing import CliRunner

from csqa_loop import events as e
from csqa_loop.commands import reviews
from csqa_loop.commands.reviews import app
from csqa_loop.errors import PermanentError
from csqa_loop.evidence.review.files import COLUMNS, read_file, row_of, write_file
from csqa_loop.evidence.review.rules.items import WholeItem, WholePage
from csqa_loop.evidence.rules.pairs import review_id_of
from tests import events as make
from tests.review_console import Desk, open_desk

FORMULA = '=HYPERLINK("http://evil.example","free boots")'
FIRST, SECOND, THIRD = (review_id_of("answer", f"m{number}") for number in (1, 2, 3))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    given = [make.answer(1, question=FORMULA), make.answer(2, question="+1 pair of [b]boots[/b]?\x07"), make.answer(3, question="@boots")]
    opened = open_desk(tmp_path / "var", monkeypatch, *given, *(make.thumb(number) for number in (1, 2, 3)))

    monkeypatch.setattr(reviews, "ask_console", opened.ask)
    with opened.client:
        yield opened


def first_item(desk: Desk) -> WholeItem:
    return desk.ask(None, "/v1/reviews?whole=true", WholePage).items[0]


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def test_a_spreadsheet_comes_back_filled_in(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "open.xlsx"
    assert json.loads(run("export", file, "--json"))["items"] == 3
    book = load_workbook(file)
    sheet = book.active
    assert tuple(cell.value for cell in sheet[1]) == COLUMNS
    cells = [cell for row in sheet.iter_rows(min_row=2) for cell in row if cell.value is not None]
    assert {(cell.data_type, cell.quotePrefix) for cell in cells} == {("s", True)}
    lines = {row[0].value: row for row in sheet.iter_rows(min_row=2)}
    assert lines[FIRST][1].value == FORMULA
    lines[FIRST][COLUMNS.index("corrected_answer")].value = "14 days."
    lines[SECOND][COLUMNS.index("action")].value = "reject"
    book.save(file)

    told = json.loads(run("import", file, "--json"))
    assert told["counts"] == {"accepted": 2, "left alone": 1}
    assert [item["review_id"] for item in desk.items()] == [THIRD]
    assert {event.action for event in desk.bus.published if isinstance(event, e.ReviewDecided)} == {"correct", "reject"}
    assert json.loads(run("import", file, "--json"))["counts"] == {"known": 2, "left alone": 1}
    assert len(desk.bus.published) == 2


def test_json_lines_as_annotation_tools_write_them(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "open.jsonl"
    run("export", file)
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert {record["fields"]["question"] for record in records} >= {FORMULA, "@boots"}
    by_id = {record["id"]: record for record in records}
    by_id[FIRST]["responses"] = {"corrected_answer": [{"value": "14 days.", "user_id": "u"}]}
    by_id[SECOND]["responses"] = [
        {"status": "discarded", "values": {"corrected_answer": {"value": "bad"}}},
        {"status": "submitted", "values": {"action": {"value": "reject"}}},
    ]
    by_id[THIRD]["responses"] = {"corrected_answer": [{"value": "a draft", "status": "draft"}]}
    file.write_text("\n".join(json.dumps(record) for record in records))
    assert json.loads(run("import", file, "--json"))["counts"] == {"accepted": 2, "left alone": 1}


def test_every_refused_row_is_told_by_line(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "open.xlsx"
    run("export", file)
    book = load_workbook(file)
    sheet = book.active
    correction = COLUMNS.index("corrected_answer") + 1
    sheet.cell(2, correction).value = "=1+1"
    sheet.cell(3, correction + 1).value = "burn"
    sheet.cell(4, correction).value = "word " * 500
    sheet.cell(5, correction).value = "for which item?"
    book.save(file)
    lines = run("import", file, code=1).splitlines()
    assert "refused corrected_answer is a formula; write plain text" in lines[0]
    assert "refused action: is 'burn'" in lines[1]
    assert "refused corrected_answer: has about" in lines[2]
    assert lines[3:] == ["line 5:  refused review_id is empty", "4 refused"]
    assert desk.bus.published == []


def test_items_in_the_terminal(desk: Desk) -> None:
    assert json.loads(run("list", "--json"))["counts"] == {"answer": 3, "pair": 0}
    assert "[b]boots[/b]" in run("list", "--search", "BOOTS")
    assert "Nothing was found." in run("list", "--state", "decided")
    assert FORMULA in run("show", FIRST)
    assert json.loads(run("show", FIRST, "--json"))["answer"] == "30 days."


@pytest.mark.parametrize(("command", "path"), [(("list",), ""), (("show", FIRST), f"/{FIRST}")])
def test_scripts_get_what_the_console_says_to_the_byte(desk: Desk, command: tuple[str, ...], path: str) -> None:
    told = desk.call("GET", path, "operator").json()
    assert run(*command, "--json") == json.dumps(told, ensure_ascii=False) + "\n"


def test_files_of_another_kind_are_refused_by_name(tmp_path: Path) -> None:
    for name, content, reason in (
        ("a.csv", b"", "must end in .xlsx or .jsonl"),
        ("a.xlsx", b"PK", "is no spreadsheet"),
        ("b.jsonl", "{}".encode("utf-16"), "is not UTF-8"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PermanentError, match=reason):
            read_file(tmp_path / name)
    with pytest.raises(PermanentError, match="cannot be written"):
        write_file(tmp_path / "nowhere" / "a.jsonl", [])


def test_a_line_that_cannot_be_read_costs_itself_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    good = {"id": "v-1", "responses": {"corrected_answer": [{"value": "14\u2028days\x85"}]}, "fields": {"question": "a\u2028b"}}
    lines = [
        json.dumps(good, ensure_ascii=False),
        "[]",
        '{"id": "v-2", "responses": [{"status": "submitted", "values": null}]}',
        '{"id": "v-3", "responses": {"corrected_answer": [{"value": ["14 days"]}]}}',
        '{"id": "v-4", "responses": {"corrected_answer": [{"value": "\\ud800"}]}}',
        '{"id": "v-5", "responses": [{"status": "discarded", "values": null}]}',
        '{"id": ',
    ]
    file.write_bytes("\ufeff".encode() + "\n".join(lines).encode() + b"\n\xff\n")
    rows = read_file(file)
    assert [(row["line"], row["review_id"], row.get("broken", "")[:20]) for row in rows] == [
        (1, "v-1", ""),
        (2, "", "it is no JSON object"),
        (3, "v-2", "its submitted respon"),
        (4, "v-3", "corrected_answer: is"),
        (5, "v-4", "corrected_answer: ho"),
        (6, "v-5", ""),
        (7, "", "it is no JSON object"),
        (8, "", "it is not UTF-8: inv"),
    ]
    assert rows[0]["corrected_answer"] == "14\u2028days"


def test_what_xml_cannot_hold_blocks_no_export(desk: Desk, tmp_path: Path) -> None:
    item = first_item(desk)
    write_file(tmp_path / "a.xlsx", [replace(item, question="a\uffff\ufffe\ud800\x0bb \U0001f600")])
    assert load_workbook(tmp_path / "a.xlsx").active.cell(2, 2).value == "ab \U0001f600"


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_sheet_is_named(desk: Desk, tmp_path: Path, keep: float) -> None:
    whole, cut = tmp_path / "a.xlsx", tmp_path / "b.xlsx"
    run("export", whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(cut, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content[: int(keep * len(content))] if name == "xl/worksheets/sheet1.xml" else content)
    with pytest.raises(PermanentError, match=r"b\.xlsx is no spreadsheet"):
        read_file(cut)


def test_cells_that_are_no_text_are_refused(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["review_id", "action", "corrected_answer"])
    for value in (14, 14.5, True, datetime(2026, 1, 1), "#REF!"):  # noqa: DTZ001  # Excel knows no zones
        book.active.append(["v-1", "", value])
    book.active.append(["v-2"])
    book.save(tmp_path / "a.xlsx")
    rows = read_file(tmp_path / "a.xlsx")
    assert [row["corrected_answer"] for row in rows if "broken" not in row] == ["14", "14.5", ""]
    assert [row["broken"].split(" (")[0].split(";")[0] for row in rows if "broken" in row] == [
        "corrected_answer is a bool", "corrected_answer is a datetime", "corrected_answer is the error #REF!",
    ]  # fmt: skip


def test_a_text_longer_than_a_cell_says_that_it_was_cut(desk: Desk, tmp_path: Path) -> None:
    item = first_item(desk)
    write_file(tmp_path / "a.xlsx", [replace(item, question="x" * 40_000)])
    text = load_workbook(tmp_path / "a.xlsx").active.cell(2, 2).value
    assert (len(text), text[-6:]) == (32_767, " [...]")
    assert row_of(item)["blame"].startswith("generation: ")
