"""Review items as files that people fill in: a spreadsheet, or JSON lines as annotation tools have them (fields, suggestions, responses, metadata)."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from csqa_loop.errors import PermanentError
from csqa_loop.evidence.review.rules.items import WholeItem
from csqa_loop.evidence.review.rules.reviewing import text_in

COLUMNS = ("review_id", "question", "retrieved", "answer", "comment", "reason", "blame", "corrected_answer", "action")
FILLED_IN = ("corrected_answer", "action", "note")
_WIDTHS = {"review_id": 21, "comment": 30, "reason": 13, "blame": 40, "action": 12}
_LONGEST_CELL = 32_767
_ACTIONS = ("correct", "approve", "reject")
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold (section 2.2). Customers write it, and it must not keep all other items out of a file."""
_NOT_JSONL = "it is no JSON object with `id` and `responses` as export writes them"

SheetRow = dict[str, Any]


def row_of(item: WholeItem) -> SheetRow:
    """An item as one flat row; the columns to fill in are empty."""
    passages = [f"[{hit.policy_id} | {hit.section} | {hit.version}]\n{hit.text or ''}".strip() for hit in item.retrieved]
    if any(hit.text is None for hit in item.retrieved) or not passages:
        passages.append(item.prompt)
    blame = item.blame
    comments = [thumb.comment for thumb in item.feedback if thumb.comment]
    return {
        "review_id": item.review_id, "question": item.question, "retrieved": "\n\n".join(passages),
        "answer": item.pair.chosen if item.pair else item.answer, "comment": "\n".join(comments),
        "reason": f"held: {item.detail}" if item.kind == "pair" else item.reason,
        "blame": f"{blame.fault}: {blame.detail}" if blame else "", "corrected_answer": "", "action": "",
    }  # fmt: skip


def write_file(file: Path, items: Iterable[WholeItem]) -> int:
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


def read_file(file: Path) -> list[SheetRow]:
    """The rows of a filled-in file: `review_id`, `corrected_answer`, `action`, `note`, `line` where it stands, and `broken`: why it cannot be
    taken, where it cannot.

    Raises:
        PermanentError: it is not such a file; the message names what it lacks.
    """
    read = _format(file, {".xlsx": _read_xlsx, ".jsonl": _read_jsonl})
    try:
        rows: list[SheetRow] = read(file)
    except OSError as error:
        raise PermanentError(f"{file} cannot be read: {error}") from error
    return rows


def _format(file: Path, formats: Mapping[str, Any]) -> Any:
    if file.suffix.lower() not in formats:
        raise PermanentError(f"{file} must end in {' or '.join(formats)}")
    return formats[file.suffix.lower()]


# --- spreadsheets -----------------------------------------------------------------------------------------------------


def _write_xlsx(file: Path, rows: Sequence[SheetRow]) -> None:
    from openpyxl import Workbook
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
                cell.value = _fitting(_NOT_XML.sub("", row[name]))
            # A customer's question may begin with =, + or @: it is marked as text, so that it stays text when the cell is edited.
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


def _read_xlsx(file: Path) -> list[SheetRow]:
    try:
        return list(_xlsx_rows(file))
    except (PermanentError, OSError):
        raise
    except Exception as error:  # openpyxl passes on whatever its parsers raise: of ZIP, of XML, of numbers and dates
        raise PermanentError(
            f"{file} is no spreadsheet (.xlsx), or a damaged one: {type(error).__name__}: {error}; save it anew, or import the export itself"
        ) from error


def _xlsx_rows(file: Path) -> Iterator[SheetRow]:
    from openpyxl import load_workbook

    book = load_workbook(file, read_only=True)
    if not book.worksheets:
        raise PermanentError(f"{file} has no sheet with cells")
    sheet = book.worksheets[0]
    # Some programs write a size that is not the sheet's own; then cells beyond it would be left out.
    sheet.reset_dimensions()
    lines = sheet.iter_rows()
    head = [str(cell.value or "").strip().lower() for cell in next(lines, ())]
    missing = {"review_id", "corrected_answer", "action"} - set(head)
    if missing:
        raise PermanentError(f"{file} lacks the column {', '.join(sorted(missing))}; its first row must have the names that export writes")
    twice = [name for name in ("review_id", *FILLED_IN) if head.count(name) > 1]
    if twice:
        raise PermanentError(f"{file} has the column {twice[0]} more than once; it must know which one to read")
    for number, line in enumerate(lines, start=2):
        cells = dict(zip(head, line, strict=False))
        row: SheetRow = {name: "" if (value := _value(cells, name)) is None else str(value).strip() for name in ("review_id", *FILLED_IN)}
        broken = [f"{name} {reason}" for name in row if (reason := _no_plain_text(cells.get(name)))]
        if not row["review_id"] and (row["action"] or row["corrected_answer"]):
            broken = ["review_id is empty"]
        if any(row.values()):
            yield row | {"line": number} | ({"broken": broken[0]} if broken else {})
    book.close()


def _value(cells: Mapping[str, Any], name: str) -> Any:
    return cells[name].value if name in cells else None


def _no_plain_text(cell: Any) -> str:
    """Why a cell cannot be taken as typed text; empty where it can. A number is what a cell makes of a text of digits."""
    if cell is None or cell.value is None:
        return ""
    if cell.data_type == "f":
        return "is a formula; write plain text"
    if cell.data_type == "e":
        return f"is the error {cell.value}; write plain text"
    if isinstance(cell.value, bool) or not isinstance(cell.value, str | int | float):
        return f"is a {type(cell.value).__name__} ({cell.value}); write plain text"
    return ""


# --- JSON lines -------------------------------------------------------------------------------------------------------


def _write_jsonl(file: Path, rows: Sequence[SheetRow]) -> None:
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


def _read_jsonl(file: Path) -> list[SheetRow]:
    content = file.read_bytes().removeprefix(codecs.BOM_UTF8)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise PermanentError(f"{file} is not UTF-8 but UTF-16; save it as UTF-8")
    # At line feeds alone: customers write what else Python takes for the end of a line.
    lines = enumerate(content.split(b"\n"), start=1)
    return [{"line": number} | _row(line) for number, line in lines if line.strip()]


def _row(line: bytes) -> SheetRow:
    row: SheetRow = {"review_id": ""}
    try:
        record = json.loads(line.decode())
        name = (record.get("metadata") or {}).get("review_id") or record["id"]
        row["review_id"] = text_in({"review_id": name}, "review_id")
        return row | _responses(record.get("responses") or {})
    except UnicodeDecodeError as error:
        return row | {"broken": f"it is not UTF-8: {error.reason} at byte {error.start + 1}"}
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        return row | {"broken": f"{_NOT_JSONL} ({type(error).__name__}: {error})"}
    except PermanentError as error:
        return row | {"broken": str(error)}


def _responses(responses: Any) -> SheetRow:
    """The last response: a mapping of names to lists of values, or a list of responses with `values`; drafts and discarded ones do not count."""
    if isinstance(responses, list):
        submitted = [response for response in responses if response.get("status", "submitted") == "submitted"]
        values = submitted[-1]["values"] if submitted else {}
        if values is None:
            raise PermanentError("its submitted response has no values; fill one in, or discard the response")
        responses = {name: [value] for name, value in values.items()}
    row = {}
    for name in FILLED_IN:
        answers = [value for value in responses.get(name) or [] if value.get("status", "submitted") == "submitted"]
        row[name] = text_in({name: answers[-1]["value"]}, name) if answers else ""
    return row
