"""`csqa pairs`: what the service learns from."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from csqa_loop.backends.row_files import write_rows
from csqa_loop.commands.console_client import ask_console
from csqa_loop.domain.data.exports import Format, pair_rows, rated_row
from csqa_loop.domain.errors import PermanentError
from csqa_loop.settings import Settings, load_settings

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


def _rows(settings: Settings, format_: Format, state: str) -> Iterator[dict[str, Any]]:
    for pair in _listed(settings, "pairs", {"state": state} if state else {}):
        yield from pair_rows(format_, json.loads(pair["prompt"]), pair["chosen"], pair["rejected"], pair.get("category") or "")
    # Rated answers belong to no state of pairs.
    if format_ == "kto" and not state:
        for rated in _listed(settings, "unpaired", {}):
            yield rated_row(json.loads(rated["prompt"]), rated["answer"], liked=rated["liked"], category=rated.get("category") or "")


def _listed(settings: Settings, what: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Page by page, so that any number of them takes little memory."""
    after: str | None = ""
    while after is not None:
        asked = urlencode(query | ({"after": after} if after else {}))
        page = ask_console(settings, "GET", f"/v1/{what}{f'?{asked}' if asked else ''}")
        yield from page[what]
        after = page["next"]
