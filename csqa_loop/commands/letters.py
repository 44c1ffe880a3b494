"""`csqa letters`: records that could not be taken, and what people do about them."""

import base64
import getpass
from typing import Annotated, Literal
from urllib.parse import quote

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from csqa_loop.commands.console_client import ask_console, json_of
from csqa_loop.console.answers import Letters, WholeLetter
from csqa_loop.events import LetterHandled
from csqa_loop.ledger.letters import LetterState
from csqa_loop.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Dead letters: records that could not be taken. Mend what was wrong, then retry; or drop.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of letters, or their beginnings.")]
Reason = Annotated[str, typer.Option("--reason", "-m", metavar="TEXT", help="Why; everybody can read it in `csqa audit`.")]
Operator = Annotated[str, typer.Option("--operator", metavar="NAME", help="Who decides. Default: who is logged in.")]
_SECOND = "%Y-%m-%d %H:%M:%S"
_SHORT_ID = 12
_SHOWN = 4000


@app.command("list")
def list_letters(
    state: Annotated[
        LetterState | None, typer.Option(help="waiting: nobody has dealt with it; taken: its event is in the ledger now; dropped.")
    ] = None,
    topic: Annotated[str, typer.Option(metavar="TOPIC", help="Only records of this topic.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=5000, help="How many, the newest first.")] = 100,
    as_json: Json = False,
) -> None:
    """List dead letters with the reason and where their records lie.

    Example: csqa letters list --state waiting --topic csqa.feedback
    """
    query = "".join(f"&{name}={quote(value)}" for name, value in (("state", state), ("topic", topic)) if value)
    rows = ask_console(load_settings(), f"/v1/letters?limit={limit}{query}", Letters).letters
    if as_json:
        print(json_of(rows, indent=2))
        return
    table = Table("id", "state", "last seen (UTC)", "topic", "partition", "offset", "bytes", "attempts", "reason")
    for row in rows:
        place = (row.topic, row.partition, row.offset, row.bytes, row.attempts)
        cells = (row.letter_id[:_SHORT_ID], row.state, f"{row.last_seen:{_SECOND}}", *place, row.reason)
        table.add_row(*(escape(printable(str(cell))) for cell in cells))
    Console().print(table if rows else "No record was refused.")


@app.command("show")
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it.")],
    whole: Annotated[bool, typer.Option("--whole", help=f"Print all of the value, not {_SHOWN} characters of it.")] = False,
    as_json: Json = False,
) -> None:
    """Show one dead letter and its record, which may hold anything: what does not print is escaped. It is as it came: nothing in it is masked.

    Example: csqa letters show 3f2a9c0d1e4b
    """
    told = ask_console(load_settings(), f"/v1/letters/{quote(letter_id, safe='')}", WholeLetter)
    if as_json:
        print(json_of(told, indent=2))
        return
    letter = told.letter
    print(f"letter    {letter.letter_id}, {letter.state}, {letter.attempts} attempt(s), {letter.retries} retried by hand")
    print(
        f"record    {letter.topic}[{letter.partition}] offset {letter.offset}, {letter.bytes} bytes, last seen {letter.last_seen:{_SECOND}} UTC"
    )
    if letter.operator:
        print(f"handled   by {printable(letter.operator)}: {printable(letter.note or '')}")
    print(f"reason    {printable(letter.reason)}")
    print(f"key       {_text(told.key_base64)[:_SHOWN]}")
    value = _text(told.value_base64)
    print(f"value     {value if whole else value[:_SHOWN]}")
    if letter.cut:
        print("(the ledger keeps the beginning of a large record; all of it lies at its place in the log, where a retry reads it)")
    if len(value) > _SHOWN and not whole:
        print(f"... {len(value) - _SHOWN} more characters; --whole prints them")


@app.command("retry")
def retry(letter_ids: Ids, reason: Reason, operator: Operator = "", as_json: Json = False) -> None:
    """Publish the original bytes to the original topic again: after a mend they are taken; if not, the same letter counts one more attempt.

    An old version of a policy would become the newest word on it: publish the document instead.

    Example: csqa letters retry 3f2a9c0d1e4b --reason "the field is known now"
    """
    _handle("retry", letter_ids, reason, operator, as_json=as_json)


@app.command("drop")
def drop(letter_ids: Ids, reason: Reason, operator: Operator = "", as_json: Json = False) -> None:
    """Mark letters as dealt with: nothing is to be done. The record stays where it is, and a replay of the log knows it too.

    Example: csqa letters drop 3f2a9c0d1e4b --reason "a load test"
    """
    _handle("drop", letter_ids, reason, operator, as_json=as_json)


def _handle(action: Literal["retry", "drop"], letter_ids: list[str], reason: str, operator: str, *, as_json: bool) -> None:
    body = {"operator": operator or getpass.getuser(), "reason": reason}
    for letter_id in letter_ids:
        event = ask_console(load_settings(), f"/v1/letters/{quote(letter_id, safe='')}/{action}", LetterHandled, body=body)
        done = "published again; `csqa letters show` says what became of it" if action == "retry" else "dropped"
        print(json_of(event) if as_json else f"letter {event.letter_id[:_SHORT_ID]} {done}")


def printable(text: str) -> str:
    """The text with everything escaped that a terminal would not print as it is."""
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)


def _text(encoded: str | None) -> str:
    return "none" if encoded is None else printable(base64.b64decode(encoded).decode(errors="backslashreplace"))
