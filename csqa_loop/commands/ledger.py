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
from csqa_loop.console.answers import LedgerCheck, LedgerHash, LedgerLosses, Takeover
from csqa_loop.errors import PermanentError
from csqa_loop.ledger.backup import Backup
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
    was trained on, I5 one champion on which registry, disk, gateways and replicas agree. And: this loop reads every partition of the log, the log
    names its ledger, and nothing was deleted from the log before it was read (or an operator knows: `csqa ledger losses`). `dates` never breaks: it
    names topics whose publishers' clocks are ahead.
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


@app.command("takeover")
def takeover(
    operator: Annotated[str, typer.Option(help="Who orders it.")],
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the audit later.")],
    as_json: Json = False,
) -> None:
    """Give this loop's ledger the place of the log's present one, whose loop steps down.

    A log has one ledger, by name. A loop with another one (a new folder after the old one was lost) is refused until this is ordered. It then reads the
    whole log before it decides.
    """
    answer = ask_console(load_settings(), "/v1/ledger/takeover", Takeover, body={"operator": operator, "reason": reason})
    print(json_of(answer) if as_json else f"ledger {answer.ledger_id} takes over; it was refused because {answer.instead_of}")


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
    backup: Annotated[
        Path | None, typer.Option("--from", metavar="BACKUP", help="Begin with this backup: for what the log no longer has.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay the log into an empty ledger and print its hash. Decides and publishes nothing; the running loop is not disturbed.

    What retention and compaction have removed from the log comes from a backup: without one, the hash is another than the running ledger's, and a
    warning says how many records are gone.
    """
    from csqa_loop.bootstrap import build_ledger, build_secrets
    from csqa_loop.ledger.backup import copy_of, verify
    from csqa_loop.ledger.replay import replay_log

    settings = load_settings()
    if into is not None and (into / "ledger.duckdb").exists():
        msg = f"{into} already holds a ledger; a replay starts from an empty folder"
        raise PermanentError(msg)
    with tempfile.TemporaryDirectory(prefix="csqa-replay-") as scratch:
        if backup is not None:
            verify(backup)
            copy_of(backup, (into or Path(scratch)) / "ledger.duckdb")
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
    if result["removed"] > 0 and backup is None:
        print(
            f"csqa: {result['removed']} record(s) are no longer in the log (retention, compaction): this is not the hash of a ledger that took them; "
            "begin with a backup: --from BACKUP",
            file=sys.stderr,
        )
    print(json.dumps(result) if as_json else result["hash"])


@app.command("backup")
def back_up(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="For backups, on the loop's machine; each gets a folder of its own in it.")],
    as_json: Json = False,
) -> None:
    """Copy the running ledger, whole and as of one moment. The loop goes on meanwhile.

    The log forgets: chats after 30 days, and all but the newest of each policy and deployment. The ledger with a backup is what remains. On a schedule:
    CSQA_BACKUP__FOLDER, CSQA_BACKUP__EVERY_HOURS, CSQA_BACKUP__KEEP.
    """
    backup = ask_console(load_settings(), "/v1/ledger/backup", Backup, body={"folder": str(folder.resolve())}, timeout=3600)
    print(
        json_of(backup)
        if as_json
        else f"{folder / backup.name}: {backup.events} events, {backup.bytes / 1e6:.1f} MB, sha256 {backup.sha256[:12]}"
    )


@app.command("backups")
def list_backups(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="Default: CSQA_BACKUP__FOLDER.")] = None,
    as_json: Json = False,
) -> None:
    """List the backups in a folder, the oldest first, each read in full and compared with its checksum; exit 1 where one is damaged."""
    from csqa_loop.ledger.backup import backups_in, verify

    kept = folder or Path(load_settings().backup.folder or ".")
    rows: list[dict[str, object]] = []
    lines: list[str] = []
    damaged = 0
    for backup in backups_in(kept):
        try:
            verify(kept / backup.name)
            state = "whole"
        except PermanentError as error:
            state, damaged = str(error), damaged + 1
        rows.append(
            {"name": backup.name, "taken_at": backup.taken_at.isoformat(), "events": backup.events, "bytes": backup.bytes, "state": state}
        )
        lines.append(f"{backup.name}  {backup.events} events  {backup.bytes / 1e6:.1f} MB  {state}")
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        print(*lines, sep="\n")
        print(f"{len(rows)} backup(s) in {kept}" + (f", {damaged} damaged" if damaged else ""))
    if damaged:
        sys.exit(1)


@app.command("restore")
def restore_backup(
    backup: Annotated[Path, typer.Argument(metavar="BACKUP", help="A folder that `csqa ledger backup` made.")],
    as_json: Json = False,
) -> None:
    """Put a backup in the ledger's place, while no loop runs. What was there is kept beside it.

    The next loop goes on in the log from the backup's offsets. What the log has forgotten since then is lost, and `csqa ledger check` says so.
    """
    from csqa_loop.bootstrap import build_ledger
    from csqa_loop.events import now
    from csqa_loop.ledger.backup import restore

    settings = load_settings()
    said, aside = restore(backup, build_ledger(settings), now())
    if as_json:
        print(
            json.dumps({"restored": said.model_dump(mode="json"), "ledger": str(settings.ledger_file), "set_aside": aside and str(aside)})
        )
    else:
        print(
            f"{settings.ledger_file} is the ledger of {said.taken_at:%Y-%m-%d %H:%M:%S} UTC ({said.events} events)"
            + (f"; what was there is in {aside}" if aside else "")
        )


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
