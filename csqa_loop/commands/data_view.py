"""How `csqa data` shows what it found: tables, a bar on stderr, and reports as JSON, HTML and PNG."""

import base64
import html
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from csqa_loop.analytics import plots
from csqa_loop.data.rules.report import Tally
from csqa_loop.data.rules.rows import Broken, Remark, Row
from csqa_loop.errors import PermanentError
from csqa_loop.files.durable import write_atomically

_SHOWN = 10
_ENOUGH_FOR_TABLES = 10
"""Examples: of fewer, the rows themselves tell more."""
_STEP = 100
_LINE = TypeVar("_LINE", bound=Row | Broken | Remark)


@contextmanager
def bar(what: str, total: int) -> Iterator[tuple[Progress, TaskID]]:
    """A progress bar on stderr, where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        yield progress, progress.add_task(what, total=total)


def followed(rows: Iterable[_LINE], progress: Progress, task: TaskID) -> Iterator[_LINE]:
    """The rows, while the bar follows their lines."""
    for number, row in enumerate(rows):
        if number % _STEP == 0:
            progress.update(task, completed=row.line)
        yield row


def check_target(target: Path) -> None:
    """Refuse a report's name before the work begins.

    Raises:
        PermanentError: it is no .json, .html or folder, or its folder is missing.
    """
    if target.suffix.lower() not in {".json", ".html", ""}:
        raise PermanentError(f"--report {target} ends in {target.suffix!r}; name a .json or .html file, or a folder for PNG files")
    if not target.parent.is_dir():
        raise PermanentError(f"--report {target}: {target.parent} is not a folder")


def write_report(target: Path, report: Mapping[str, Any], tally: Tally) -> None:
    """A .json or .html file, or a folder with a PNG for each figure.

    Raises:
        PermanentError: it cannot be written there.
    """
    try:
        match target.suffix.lower():
            case ".json":
                write_atomically(target, json.dumps(report, ensure_ascii=False, indent=2).encode())
            case ".html":
                write_atomically(target, _page(report, _figures(tally)).encode())
            case _:
                target.mkdir(exist_ok=True)
                for name, image in _figures(tally).items():
                    write_atomically(target / f"{name}.png", image)
    except OSError as error:
        raise PermanentError(f"--report {target} cannot be written: {error.strerror}; name another file or folder") from error


def show(report: Mapping[str, Any]) -> None:
    """The report for people, on stdout: what was read and how, warnings, then tables where there is enough to count."""
    console = Console()
    for line in _summary(report):
        console.print(escape(line), highlight=False, soft_wrap=True)
    for warning in report["warnings"]:
        console.print(f"[yellow]warning[/]: {escape(warning)}", highlight=False, soft_wrap=True)
    for entry in report["listed"][1:_SHOWN]:
        console.print(f"line {entry['line']}: {entry['verdict']}: {escape(entry['reason'])}", highlight=False, soft_wrap=True)
    rest = report["examples"]["held"] + report["examples"]["refused"] - min(_SHOWN, len(report["listed"]))
    if rest > 0:
        console.print(f"... and {rest} more")
    if sum(report["kinds"].values()) < _ENOUGH_FOR_TABLES:
        return
    for title, rows in _tables(report):
        table = Table("", *map(str, rows[0][1:]), title=title, title_justify="left")
        for row in rows[1:]:
            table.add_row(*(escape(str(cell)) for cell in row))
        if len(rows) > 2:  # one count tells nothing that the rows above do not
            console.print(table)


def _summary(report: Mapping[str, Any]) -> Iterator[str]:
    """The encoding, what became of the rows with the first reason in full, and of the columns, the unread ones first."""
    guess = " (a guess)" if report["encoding_guessed"] else ""
    yield f"{report['file']}: {report['format']}, encoding {report['encoding']}{guess}"
    verdicts, first = report["row_verdicts"], report["first"]
    counts = f"{verdicts['accepted']} taken, {verdicts['held']} held, {verdicts['refused']} refused"
    yield f"rows: {report['rows']}; {counts}" + (f"; line {first['line']} {first['verdict']}: {first['reason']}" if first else "")
    columns = [f"{entry['column']}: {entry['read_as'] or 'NOT READ'}" for entry in report["columns"]]
    if columns:
        yield f"columns: {'; '.join(columns)}"
    if report["paired"]:
        yield f"{report['paired']} pairs are made of rows with several answers"
    for note, rows in report["notes"].items():
        yield f"in {rows} row{'' if rows == 1 else 's'}: {note}"


def _tables(report: Mapping[str, Any]) -> Iterator[tuple[str, list[list[object]]]]:
    """Each figure as a table: a header row whose first cell is empty, then rows. Empty ones are left out."""
    counts: list[list[object]] = [["", "count"], ["rows", report["rows"]], *map(list, report["examples"].items())]
    yield "Rows", [*counts, *([f"  {reason}", count] for reason, count in report["reasons"].items())]
    measures = ("mean", "p50", "p95", "max")
    for unit in ("characters", "tokens"):
        if report[unit]:
            title = "Lengths in characters" if unit == "characters" else "Lengths in tokens, estimated"
            yield title, [["", *measures], *([role, *(figures[measure] for measure in measures)] for role, figures in report[unit].items())]
    diversity = {role: figures for role, figures in report["diversity"].items() if figures}
    if diversity:
        names = ("distinct_1", "distinct_2", "type_token_ratio")
        yield "Diversity", [["", *names], *([role, *(figures[name] for name in names)] for role, figures in diversity.items())]
        yield "Questions", [["", "count"], ["distinct", report["distinct_questions"]], ["nearly repeated", report["duplicates"]["near"]]]
    for title, name in (("Kinds", "kinds"), ("Thumbs", "labels"), ("Languages", "languages"), ("Categories", "categories"),
                        ("Splits", "splits"), ("Made by", "generators")):  # fmt: skip
        if report[name]:
            yield title, [["", "count"], *map(list, report[name].items())]


def _figures(tally: Tally) -> dict[str, bytes]:
    lengths = {role: kept.values for role, kept in tally.characters.items() if kept.values}
    return {
        "lengths": plots.histogram(lengths, title="Lengths", x_label="characters"),
        "categories": plots.bars(dict(tally.categories.most_common(20)), title="Categories", x_label="rows"),
        "languages": plots.bars(dict(tally.languages.most_common()), title="Languages", x_label="rows"),
    }


def _page(report: Mapping[str, Any], figures: Mapping[str, bytes]) -> str:
    parts = [f"<li>{html.escape(warning)}</li>" for warning in report["warnings"]]
    body = [f"<ul class=warnings>{''.join(parts)}</ul>" if parts else "<p>No warnings.</p>"]
    tables = list(_tables(report))
    if report["listed"]:
        listed = [[entry["line"], entry["verdict"], entry["reason"]] for entry in report["listed"]]
        tables.append(("Rows that were not accepted (the first ones)", [["line", "verdict", "reason"], *listed]))
    for title, (header, *rows) in tables:
        head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in header)
        lines = "".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
        body.append(f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{lines}</table>")
    body += [f'<img alt="{name}" src="data:image/png;base64,{base64.b64encode(image).decode()}">' for name, image in figures.items()]
    body[:0] = [f"<p>{html.escape(line)}</p>" for line in _summary(report)]
    title = html.escape(f"Training data: {report['file']}")
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse}"
        "td,th{border-bottom:1px solid #ccc;padding:.2rem .8rem;text-align:left}.warnings{background:#fff6e0;padding:.8rem 2rem}img{max-width:100%}"
    )
    return f"<!doctype html><html><head><meta charset=utf-8><title>{title}</title><style>{style}</style></head><body><h1>{title}</h1>{''.join(body)}</body></html>"
