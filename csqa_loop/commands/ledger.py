"""`csqa ledger`: invariants, the hash, and a clean replay of the log."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from csqa_loop.commands.console_client import ask_console, json_of
from csqa_loop.console.answers import LedgerCheck, LedgerHash, LedgerLosses
from csqa_loop.errors import PermanentError
from csqa_loop.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="The facts: are they complete, and do they equal a replay of the log?")
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


@app.command("check")
def check(
    accepted: Annotated[
        Path | None, typer.Option(help="File of event ids that were accepted, one a line (or JSON lines with event_id).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Evaluate the invariants on the running loop; exit 1 where one does not hold.

    I1 accepted = ledger + dead letters, I2 each event once, I3 ledger offset >= Kafka's, I4 every pair has its sources and nothing held out
    was trained on, I5 one champion on which registry, disk, gateways and replicas agree, I6 nothing was deleted from the log before it was read
    (or an operator knows: `csqa ledger losses`).
    """
    answer = ask_console(load_settings(), "/v1/ledger/check", LedgerCheck, body={"accepted": _ids(accepted) if accepted else None})
    if as_json:
        print(json_of(answer))
    else:
        console = Console()
        for finding in answer.findings:
            holds = "[green]holds[/]" if finding.holds else "[red]BROKEN[/]"
            console.print(f"{holds}  {finding.invariant}  {finding.detail}", highlight=False)
    if not answer.ok:
        sys.exit(1)


@app.command("hash")
def show_hash(as_json: Json = False) -> None:
    """The hash of the running ledger's fact and decision tables."""
    answer = ask_console(load_settings(), "/v1/ledger/hash", LedgerHash, timeout=600)
    print(json_of(answer) if as_json else answer.hash)


@app.command("losses")
def show_losses(
    acknowledge: Annotated[str, typer.Option(help="Say that you know of all of them, and why that is so or what was done.")] = "",
    as_json: Json = False,
) -> None:
    """What the log deleted before the ledger read it; exit 1 while one is not acknowledged."""
    settings = load_settings()
    if acknowledge:
        answer = ask_console(settings, "/v1/ledger/losses/acknowledge", LedgerLosses, body={"reason": acknowledge})
    else:
        answer = ask_console(settings, "/v1/ledger/losses", LedgerLosses)
    if as_json:
        print(json_of(answer))
    else:
        for loss in answer.losses:
            known = (
                f"acknowledged {loss.acknowledged_at:%Y-%m-%d %H:%M}: {loss.acknowledgement}"
                if loss.acknowledged_at
                else "NOT acknowledged"
            )
            print(f"{loss.found_at:%Y-%m-%d %H:%M}  {loss.gap}  {known}")
        if not answer.losses:
            print("nothing was deleted from the log before the ledger read it")
    if answer.open:
        sys.exit(1)


@app.command("replay")
def replay(
    into: Annotated[
        Path | None, typer.Option(help="Folder for the replayed ledger (must not hold one). Default: a temporary folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay the log into an empty ledger and print its hash. Decides and publishes nothing; the running loop is not disturbed."""
    from csqa_loop.bootstrap import build_ledger, build_secrets
    from csqa_loop.ledger.replay import replay_log

    settings = load_settings()
    if into is not None and (into / "ledger.duckdb").exists():
        msg = f"{into} already holds a ledger; a replay starts from an empty folder"
        raise PermanentError(msg)
    with tempfile.TemporaryDirectory(prefix="csqa-replay-") as scratch:
        result = asyncio.run(
            replay_log(
                build_ledger(settings, (into or Path(scratch)) / "ledger.duckdb"),
                build_secrets(settings).secret,
                settings.privacy.known,
                settings.kafka_servers,
                settings.kafka,
                progress=lambda n: print(f"{n} records", file=sys.stderr),
            )
        )
    print(json.dumps(result) if as_json else result["hash"])


def _ids(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file} cannot be read: {error}"
        raise PermanentError(msg) from error
    ids = []
    for number, line in enumerate(lines, start=1):
        if not (text := line.strip()):
            continue
        try:
            ids.append(str(json.loads(text)["event_id"]) if text.startswith("{") else text.strip('"'))
        except (ValueError, KeyError) as error:
            msg = f"{file}, line {number}: {text[:60]!r} is neither an event id nor a JSON object with event_id"
            raise PermanentError(msg) from error
    return ids
