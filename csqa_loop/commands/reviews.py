"""`csqa reviews`: the review queue in the terminal and as files."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from csqa_loop.commands.console_client import ask_console, json_of
from csqa_loop.console.answers import Imported
from csqa_loop.evidence.review import files as review_files
from csqa_loop.evidence.review.desk import RowOutcome
from csqa_loop.evidence.review.rules.items import QueuePage, WholeItem, WholePage
from csqa_loop.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="Doubtful answers and held pairs: list, export to a file, import what people wrote.")
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
State = Annotated[str, typer.Option(help="open, decided or all.")]
_PATH = "/v1/reviews"
_PAGE = 200
_ROWS = 200
_SECONDS = 300.0


@app.callback()
def group() -> None:
    """Doubtful answers and held pairs: list, export to a file, import what people wrote."""


@app.command("list")
def list_items(
    state: State = "open",
    kind: Annotated[str, typer.Option(help="answer or pair; empty: both.")] = "",
    reason: Annotated[str, typer.Option(help="wrong, incomplete, tone, unsafe, other, thumb or held.")] = "",
    fault: Annotated[str, typer.Option(help="generation, retrieval_miss, stale_policy or missing_policy.")] = "",
    policy: Annotated[str, typer.Option(help="Only what cites this policy.")] = "",
    search: Annotated[str, typer.Option(help="In question, answer, comment or pair.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=_PAGE)] = 50,
    as_json: Json = False,
) -> None:
    """Show the first items of the queue: bad cases, then thumbs, then held pairs, each oldest first."""
    query = {"state": state, "kind": kind, "reason": reason, "fault": fault, "policy": policy, "q": search, "limit": limit}
    page = ask_console(load_settings(), f"{_PATH}?{urlencode(query)}", QueuePage)
    if as_json:
        print(json_of(page))
        return
    console = Console()
    table = Table("review_id", "reason", "cause", "since", "question")
    for item in page.items:
        table.add_row(item.review_id, item.reason, item.fault or "", item.opened_at[:16].replace("T", " "), escape(item.question))
    console.print(table if page.items else "Nothing is waiting." if state == "open" else "Nothing was found.")
    console.print(f"{page.counts['answer']} answer(s), {page.counts['pair']} pair(s) in all", highlight=False)


@app.command("show")
def show_item(review_id: Annotated[str, typer.Argument(metavar="REVIEW_ID")], as_json: Json = False) -> None:
    """Show one item with what was retrieved, what was said about it, and what was decided."""
    item = ask_console(load_settings(), f"{_PATH}/{review_id}", WholeItem)
    if as_json:
        print(json_of(item))
        return
    console = Console()
    for name, value in review_files.row_of(item).items():
        if value:
            console.print(f"[bold]{name}[/]\n{escape(value)}\n", highlight=False)
    for past in item.history:
        console.print(f"{past.occurred_at[:16]} {past.reviewer}: {past.action} {escape(past.corrected_answer or '')}", highlight=False)


@app.command("export")
def export_items(
    file: Annotated[Path, typer.Argument(metavar="FILE.xlsx|FILE.jsonl")],
    kind: Annotated[str, typer.Option(help="answer or pair; empty: both.")] = "",
    fault: Annotated[str, typer.Option(help="generation, retrieval_miss, stale_policy or missing_policy.")] = "",
    policy: Annotated[str, typer.Option(help="Only what cites this policy.")] = "",
    as_json: Json = False,
) -> None:
    """Write all open items to a spreadsheet, or to JSON lines for annotation tools.

    Fill in `corrected_answer`, or `action` (correct, approve, reject), and import the file again.
    """
    query = {"state": "open", "kind": kind, "fault": fault, "policy": policy}
    written = review_files.write_file(file, _all_items(load_settings(), query))
    print(json.dumps({"file": str(file), "items": written}) if as_json else f"{written} item(s) in {file}")


@app.command("import")
def import_items(
    file: Annotated[Path, typer.Argument(metavar="FILE.xlsx|FILE.jsonl", exists=True, dir_okay=False)], as_json: Json = False
) -> None:
    """Decide what a filled-in file says; exit 1 where a row is refused. Importing a file twice decides once."""
    settings = load_settings()
    rows = review_files.read_file(file)
    readable = [row for row in rows if "broken" not in row]
    answers: list[RowOutcome] = []
    for start in range(0, len(readable), _ROWS):
        part = [
            {name: row[name] for name in ("review_id", *review_files.FILLED_IN) if name in row} for row in readable[start : start + _ROWS]
        ]
        answers += ask_console(settings, _PATH, Imported, body={"rows": part}, timeout=_SECONDS).rows
    outcomes = [(row["line"], outcome) for row, outcome in zip(readable, answers, strict=True)]
    outcomes += [(row["line"], RowOutcome(row["review_id"], "refused", row["broken"])) for row in rows if "broken" in row]
    outcomes.sort(key=itemgetter(0))
    counts = Counter(outcome.outcome for _, outcome in outcomes)
    if as_json:
        print(json_of({"rows": [{"line": line} | asdict(outcome) for line, outcome in outcomes], "counts": counts}))
    else:
        for line, outcome in outcomes:
            if outcome.outcome != "left alone":
                print(f"line {line}: {outcome.review_id} {outcome.outcome} {outcome.reason}".rstrip())
        print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "the file has no rows")
    if counts["refused"]:
        sys.exit(1)


def _all_items(settings: Settings, query: dict[str, str]) -> Iterator[WholeItem]:
    after: str | None = ""
    while after is not None:
        encoded = urlencode(query | {"whole": "true", "limit": str(_PAGE), "after": after})
        page = ask_console(settings, f"{_PATH}?{encoded}", WholePage, timeout=_SECONDS)
        yield from page.items
        after = page.next
