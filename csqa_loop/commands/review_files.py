"""Review items as files that people fill in: a spreadsheet, or JSON lines as annotation tools have them (fields, suggestions, responses, metadata)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from csqa_loop.domain.errors import PermanentError

COLUMNS = ("review_id", "question", "retrieved", "answer", "comment", "reason", "blame", "corrected_answer", "action")
FILLED_IN = ("corrected_answer", "action", "note")
_WIDTHS = {"review_id": 21, "comment": 30, "reason": 13, "blame": 40, "action": 12}
_LONGEST_CELL = 32_767
_ACTIONS = ("correct", "approve", "reject")
_NOT_JSONL = "which is no JSON object with `id` and `responses`; export writes the shape"

Row = dict[str, Any]


def row_of(item: Mapping[str, Any]) -> Row:
    """An item of the console as one flat row; the columns to fill in are empty."""
    passages = [f"[{hit['policy_id']} | {hit['section']} | {hit['version']}]\n{hit['text'] or ''}".strip() for hit in item["retrieved"]]
    if any(hit["text"] is None for hit in item["retrieved"]) or not passages:
        passages.append(item["prompt"])
    blame = item["blame"]
    comments = [given["comment"] for given in item["feedback"] if given["comment"]]
    return {
        "review_id": item["review_id"], "question": item["question"], "retrieved": "\n\n".join(passages),
        "answer": item["pair"]["chosen"] if item["pair"] else item["answer"], "comment": "\n".join(comments),
        "reason": f"held: {item['detail']}" if item["kind"] == "pair" else item["reason"],
        "blame": f"{blame['fault']}: {blame['detail']}" if blame else "", "corrected_answer": "", "action": "",
    }  # fmt: skip


def write_file(file: Path, items: Iterable[Mapping[str, Any]]) -> int:
    """Write the items as the file's name ends: .xlsx or .jsonl. Returns how many.

    Raises:
        PermanentError: another ending, or the file cannot be written.
    """
    rows = [row_of(item) for item in items]
    try:
        _format(file, {".xlsx": _write_xlsx, ".jsonl": _write_jsonl})(file, rows)
    except OSError as error:
        raise PermanentError(f"{file} cannot be written: {error}") from error
    return len(rows)


def read_file(file: Path) -> list[Row]:
    """The rows of a filled-in file: `review_id`, `corrected_answer`, `action`, `note`, and `line` where it stands.

    Raises:
        PermanentError: it is not such a file; the message names the line or the column.
    """
    read = _format(file, {".xlsx": _read_xlsx, ".jsonl": _read_jsonl})
    try:
        rows: list[Row] = read(file)
    except OSError as error:
        raise PermanentError(f"{file} cannot be read: {error}") from error
    return rows


def _format(file: Path, known: Mapping[str, Any]) -> Any:
    if file.suffix.lower() not in known:
        raise PermanentError(f"{file} must end in {' or '.join(known)}")
    return known[file.suffix.lower()]


# --- spreadsheets -----------------------------------------------------------------------------------------------------


def _write_xlsx(file: Path, rows: Sequence[Row]) -> None:
    from openpyxl import Workbook
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.datavalidation import DataValidation

    book = Workbook()
    sheet = book.active
    sheet.title = "reviews"
    sheet.append(COLUMNS)
    for number, row in enumerate(rows, start=2):
        for place, name in enumerate(COLUMNS, start=1):
            cell = sheet.cell(number, place)
            if row[name]:
                cell.value = _fitting(ILLEGAL_CHARACTERS_RE.sub("", row[name]))
            # A customer's question may begin with =, + or @: text it is, and text it stays when somebody edits the cell.
            cell.data_type = "s"
            cell.number_format = "@"
            cell.quotePrefix = True
            cell.alignment = Alignment(wrap_text=True, vertical="top")
    for place, name in enumerate(COLUMNS, start=1):
        sheet.column_dimensions[get_column_letter(place)].width = _WIDTHS.get(name, 50)
        sheet.cell(1, place).font = Font(bold=True)
    sheet.freeze_panes = "B2"
    choices = DataValidation(type="list", formula1=f'"{",".join(_ACTIONS)}"', allow_blank=True)
    choices.add(f"{get_column_letter(len(COLUMNS))}2:{get_column_letter(len(COLUMNS))}{len(rows) + 1}")
    if rows:
        sheet.add_data_validation(choices)
    book.save(file)


def _fitting(text: str) -> str:
    """A cell holds no more; only texts to read can be as long."""
    mark = " [...]"
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - len(mark)] + mark


def _read_xlsx(file: Path) -> list[Row]:
    from zipfile import BadZipFile

    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(file, read_only=True)
    except (BadZipFile, InvalidFileException, KeyError, ValueError) as error:
        raise PermanentError(f"{file} is no spreadsheet (.xlsx): {error}") from error
    lines = book.worksheets[0].iter_rows()
    head = [str(cell.value or "").strip().lower() for cell in next(lines, ())]
    missing = {"review_id", "corrected_answer", "action"} - set(head)
    if missing:
        raise PermanentError(f"{file} lacks the column {', '.join(sorted(missing))}; its first row must have the names that export writes")
    rows = []
    for number, line in enumerate(lines, start=2):
        cells = dict(zip(head, line, strict=False))
        row: Row = {name: _said(cells[name].value) for name in ("review_id", *FILLED_IN) if name in cells}
        if row["review_id"]:
            formulas = [name for name in row if cells[name].data_type == "f"]
            rows.append(row | {"line": number} | ({"broken": f"{formulas[0]} is a formula; write plain text"} if formulas else {}))
        elif row.get("action") or row["corrected_answer"]:
            rows.append(row | {"line": number, "broken": "review_id is empty"})
    book.close()
    return rows


def _said(value: object) -> str:
    return "" if value is None else str(value).strip()


# --- JSON lines -------------------------------------------------------------------------------------------------------


def _write_jsonl(file: Path, rows: Sequence[Row]) -> None:
    with file.open("w", encoding="utf-8") as out:
        for row in rows:
            record = {
                "id": row["review_id"],
                "status": "pending",
                "fields": {name: row[name] for name in ("question", "retrieved", "answer", "comment")},
                "suggestions": {},
                "responses": {},
                "metadata": {"review_id": row["review_id"], "reason": row["reason"], "blame": row["blame"]},
            }
            out.write(json.dumps(record, ensure_ascii=False) + "\n")


def _read_jsonl(file: Path) -> list[Row]:
    rows = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise PermanentError(f"{file} is not UTF-8: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            name = (record.get("metadata") or {}).get("review_id") or record["id"]
            rows.append({"review_id": str(name), "line": number} | _responses(record.get("responses") or {}))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise PermanentError(f"{file}, line {number}: {line[:60]!r}, {_NOT_JSONL}") from error
    return rows


def _responses(given: Any) -> Row:
    """The last response: a mapping of names to lists of values, or a list of responses with `values`; drafts and discarded ones do not count."""
    if isinstance(given, list):
        submitted = [response for response in given if response.get("status", "submitted") == "submitted"]
        given = {name: [value] for name, value in (submitted[-1]["values"].items() if submitted else ())}
    said = {}
    for name in FILLED_IN:
        values = [value for value in given.get(name) or [] if value.get("status", "submitted") == "submitted"]
        said[name] = _said(values[-1]["value"]) if values else ""
    return said
