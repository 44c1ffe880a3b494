"""`csqa pairs`: what the service learns from."""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import quote, urlencode

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from csqa_loop.commands.console_client import ask_console, json_of
from csqa_loop.commands.pair_tree import pair_tree
from csqa_loop.console.answers import NextRun
from csqa_loop.data.rules.exports import ExportRow, Format, pair_rows, rated_row
from csqa_loop.errors import PermanentError
from csqa_loop.evidence.pair_pages import PairPage, PairRow, UnpairedPage, UnpairedRow
from csqa_loop.evidence.pair_trace import PairTrace
from csqa_loop.files.durable import write_rows
from csqa_loop.settings import Settings, load_settings

_PAGE = 500
_Page = TypeVar("_Page", PairPage, UnpairedPage)
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

app = typer.Typer(no_args_is_help=True, help="Preference pairs: what they say, and where they come from.")


@app.callback()
def group() -> None:
    """Preference pairs: what they say, and where they come from."""


@app.command()
def export(
    format_: Annotated[Format, typer.Option("--format", help="dpo and kto as TRL reads them; alpaca keeps the better answer alone.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="JSON lines; - is stdout.")] = Path("-"),
    all_: Annotated[bool, typer.Option("--all", help="Every pair, whatever became of it. This is what happens without an option.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Only those that no training run has claimed.")] = False,
    held_out: Annotated[bool, typer.Option("--held-out", help="Only those that never train and always measure.")] = False,
) -> None:
    """Write the pairs of the running loop as a file for a trainer. `csqa data import` reads each of these formats back.

    kto writes both answers of a pair as rated ones, and adds the answers with a thumb for which no pair could be made.

    Example: csqa pairs export --format dpo --fresh --out pairs.jsonl
    """
    if all_ + fresh + held_out > 1:
        raise PermanentError("--all, --fresh and --held-out exclude each other; give one of them")
    settings = load_settings()
    state = "fresh" if fresh else "held_out" if held_out else ""
    count = write_rows(out, _rows(settings, format_, state))
    if str(out) != "-":
        print(f"{count} rows in {out}", file=sys.stderr)


@app.command("list")
def show_list(
    state: Annotated[str, typer.Option(metavar="STATE", help="fresh, held, held_out, claimed, quarantined or withdrawn.")] = "",
    source: Annotated[str, typer.Option(metavar="SOURCE", help="correction, review, rated, resample, judge or import.")] = "",
    category: Annotated[str, typer.Option(metavar="MATTER", help="As the policies' front matter calls it.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Of how many pairs, the oldest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List pairs with the state they are in. `csqa pairs show ID` tells why.

    Example: csqa pairs list --state held
    """
    filters = {name: value for name, value in (("state", state), ("source", source), ("category", category)) if value}
    pairs = list(islice(_pairs(load_settings(), filters | {"limit": str(min(limit, _PAGE))}), limit))
    if as_json:
        print(json_of(pairs, indent=2))
        return
    table = Table("pair", "state", "source", "matter", "question", "chosen")
    for pair in pairs:
        table.add_row(*map(escape, (pair.pair_id, pair.state, pair.source, pair.category or "", pair.question, pair.chosen)))
    Console().print(table if pairs else "No pair is like that. `csqa status` counts the pairs of every state.")


@app.command()
def show(pair_id: Annotated[str, typer.Argument(metavar="ID", help="As `csqa pairs list` shows it.")], as_json: Json = False) -> None:
    """Follow one pair from the customer's question to the adapter that was trained on it, event by event.

    Example: csqa pairs show p-0123456789abcdef
    """
    trace = ask_console(load_settings(), f"/v1/pairs/{quote(pair_id, safe='')}", PairTrace)
    if as_json:
        print(json_of(trace, indent=2))
    else:
        Console().print(pair_tree(trace))


@app.command("next")
def show_next(as_json: Json = False) -> None:
    """Show what the next training run would hold, what it leaves out and why, and how many pairs and customers start it.

    Example: csqa pairs next
    """
    next_run = ask_console(load_settings(), "/v1/pairs/next-run", NextRun)
    if as_json:
        print(json_of(next_run, indent=2))
        return
    print(f"{len(next_run.taken)} pairs of {next_run.users} customers; {next_run.holdout_pairs} held-out pairs will measure it")
    print(_starts(next_run))
    for title, counts in (("source", next_run.by_source), ("matter", next_run.by_category)):
        if counts:
            print(f"by {title}:", ", ".join(f"{key or 'none'} {count}" for key, count in sorted(counts.items())))
    if next_run.left_out:
        table = Table("left out", "because", "of")
        for entry in next_run.left_out:
            table.add_row(entry.pair_id, entry.reason, escape(entry.detail))
        Console().print(table)


def _starts(next_run: NextRun) -> str:
    users = min(next_run.min_users, next_run.min_pairs)
    if next_run.schedule != "when_due":
        return f"{next_run.schedule}: a run starts in each such period from {next_run.fewest_pairs} pairs on"
    late = f", or {next_run.fewest_pairs} of which the oldest is {next_run.max_age_hours:g} h old" if next_run.max_age_hours else ""
    return f"a run starts at {next_run.min_pairs} pairs{late}, of {users} customers, by method {next_run.method}"


def _rows(settings: Settings, format_: Format, state: str) -> Iterator[ExportRow]:
    for pair in _pairs(settings, {"state": state} if state else {}):
        yield from pair_rows(format_, json.loads(pair.prompt), pair.chosen, pair.rejected, pair.category or "")
    # Rated answers belong to no state of pairs.
    if format_ == "kto" and not state:
        for rated in _unpaired(settings):
            yield rated_row(json.loads(rated.prompt), rated.answer, liked=rated.liked, category=rated.category)


def _pairs(settings: Settings, query: dict[str, str]) -> Iterator[PairRow]:
    for page in _pages(settings, "/v1/pairs", PairPage, query):
        yield from page.pairs


def _unpaired(settings: Settings) -> Iterator[UnpairedRow]:
    for page in _pages(settings, "/v1/unpaired", UnpairedPage, {}):
        yield from page.unpaired


def _pages(settings: Settings, path: str, kind: type[_Page], query: dict[str, str]) -> Iterator[_Page]:
    """Page by page, so that any number of rows takes little memory."""
    after: str | None = ""
    while after is not None:
        encoded = urlencode(query | ({"after": after} if after else {}))
        page = ask_console(settings, path + (f"?{encoded}" if encoded else ""), kind)
        yield page
        after = page.next
