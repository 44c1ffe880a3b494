"""`csqa promote`, `rollback`, `pause`, `resume`: people decide; `csqa audit` and the list of adapters: what was decided, and about what."""

import getpass
import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from csqa_loop.commands.console_client import ask_console, json_of
from csqa_loop.console.answers import Adapter, Adapters, Audit, Status
from csqa_loop.errors import CsqaError, PermanentError
from csqa_loop.events import OperatorActed
from csqa_loop.rollout.outcomes import OrderOutcome
from csqa_loop.rollout.rules.orders import OrderAction
from csqa_loop.settings import Settings, load_settings

_LISTED_CHECKS = 3
_SECOND = "%Y-%m-%d %H:%M:%S"
Reason = Annotated[str, typer.Option("--reason", "-m", metavar="TEXT", help="Why; everybody can read it in `csqa audit`.")]
Operator = Annotated[str, typer.Option("--operator", metavar="NAME", help="Who decides. Default: who is logged in.")]
_POLL_SECONDS = 0.2
NOT_YET = 3
"""Exit status: the order is recorded, and the loop has not carried it out within the time that was waited."""
Wait = Annotated[
    float,
    typer.Option(
        "--wait", min=0, max=600, metavar="SECONDS", help=f"For it to be carried out; exit {NOT_YET} where it is not. 0: not at all."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (promote, rollback, pause, resume, audit):
        app.command()(command)


def promote(
    adapter: Annotated[str, typer.Argument(metavar="ADAPTER", help="Its name or version, as `csqa adapters` shows them.")],
    reason: Reason,
    override: Annotated[bool, typer.Option("--override", help="Also where the gate refused it or its experiment rolled it back.")] = False,
    operator: Operator = "",
    wait: Wait = 5.0,
    as_json: Json = False,
) -> None:
    """Make an adapter the champion. An open experiment ends INCONCLUSIVE; traffic moves once every replica holds the adapter.

    Example: csqa promote v1.3 --reason "the November tariff needs it"
    """
    decide("promote", reason, operator, target=adapter, override=override, wait=wait, as_json=as_json)


def rollback(
    reason: Reason,
    to: Annotated[str, typer.Option("--to", metavar="ADAPTER", help="Name, version or base. Default: the previous champion.")] = "",
    operator: Operator = "",
    wait: Wait = 5.0,
    as_json: Json = False,
) -> None:
    """Go back to the previous champion at once, also while an experiment runs, which ends INCONCLUSIVE. Nothing restarts.

    Example: csqa rollback --reason "it quotes last year's prices"
    """
    decide("rollback", reason, operator, target=to, wait=wait, as_json=as_json)


def pause(reason: Reason, operator: Operator = "", as_json: Json = False) -> None:
    """Claim no run, open no experiment and give no adapter more traffic until `csqa resume`. Harm is rolled back all the same.

    Example: csqa pause --reason "sale week"
    """
    decide("pause", reason, operator, as_json=as_json)


def resume(reason: Reason, operator: Operator = "", as_json: Json = False) -> None:
    """End a pause.

    Example: csqa resume --reason "the sale is over"
    """
    decide("resume", reason, operator, as_json=as_json)


def decide(
    action: OrderAction, reason: str, operator: str, *, target: str = "", override: bool = False, wait: float = 0, as_json: bool = False
) -> None:
    """Ask the loop to record the decision, print what was recorded, and wait so many seconds for it to be carried out.

    Raises:
        PermanentError: it cannot be done, or was recorded and will not be; the loop says why.
        Exit: it is recorded and not carried out yet.
    """
    body = {"operator": operator or getpass.getuser(), "reason": reason, "target": target, "override": override}
    event = ask_console(load_settings(), f"/v1/operator/{action}", OperatorActed, body=body)
    about = f"{action} {event.target or (event.experiment_id if action == 'stop' else '')}".rstrip()
    if as_json:
        print(json_of(event))
    else:
        print(f"{about} recorded for {event.operator}; `csqa audit` shows what came of it")
        if event.overridden:
            print(f"overridden: {event.overridden}")
    if not wait:
        return
    outcome = _outcome(event, wait)
    if outcome.state == "open":
        print(f"csqa: {about} is recorded, not carried out yet after {wait:g} s: {outcome.detail}", file=sys.stderr)
        raise typer.Exit(NOT_YET)
    if outcome.state != "carried_out":
        msg = f"{about} was recorded and is not carried out ({outcome.state.replace('_', ' ')}): {outcome.detail}"
        raise PermanentError(msg)
    if not as_json:
        print("carried out")


def _outcome(event: OperatorActed, seconds: float) -> OrderOutcome:
    """The order's outcome, as soon as it is not open any more; else as it is after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            outcome = ask_console(load_settings(), f"/v1/operator/orders/{event.event_id}", OrderOutcome)
        except CsqaError as error:  # the order is in the log all the same
            outcome = OrderOutcome("open", event.target, str(error))
        if outcome.state != "open" or time.monotonic() > deadline:
            return outcome
        time.sleep(_POLL_SECONDS)


def operators_in_words(settings: Settings) -> list[str]:
    """Lines for the pause in force, the open order and adapters that cannot be served; the error, where no loop answers."""
    try:
        status = ask_console(settings, "/v1/status", Status)
    except CsqaError as error:
        return [str(error)]
    lines: list[str] = []
    if paused := status.operators.paused:
        lines.append(f"paused since {paused.occurred_at:{_SECOND}} UTC by {paused.operator}: {paused.reason}")
    if order := status.operators.order:
        lines.append(
            f"{order.action} {order.target} under way since {order.occurred_at:{_SECOND}} UTC, by {order.operator}: {order.reason}"
        )
    if status.experiment_refused:
        lines.append(status.experiment_refused)
    return lines + [
        f"{unservable.replica} cannot serve {unservable.adapter} since {unservable.since[:19].replace('T', ' ')} UTC: {unservable.reason}"
        for unservable in status.unservable
    ]


def audit(
    limit: Annotated[int, typer.Option(min=1, max=5000, help="How many, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """Show all decisions, the loop's and people's, newest first: what, who, why and the numbers.

    Example: csqa audit --limit 50
    """
    decisions = ask_console(load_settings(), f"/v1/audit?limit={limit}", Audit).decisions
    if as_json:
        print(json_of(decisions, indent=2))
        return
    table = Table("when (UTC)", "what", "about", "who", "why", "numbers")
    for entry in decisions:
        cells = (f"{entry.occurred_at:{_SECOND}}", entry.what, entry.about, entry.who, entry.why, numbers_in_words(entry.numbers))
        table.add_row(*map(escape, cells))
    Console().print(table if decisions else "Nothing was decided yet.")


def numbers_in_words(numbers: Mapping[str, Any]) -> str:
    """The differences of a verdict, the checks of a gate, or the fields as they are."""
    if "estimates" in numbers:
        rows = [row for row in numbers["estimates"] if row["arm"] == "difference" and row["estimate"] is not None]
        return "\n".join(f"{row['metric']} {row['estimate']:+.3g} [{_bound(row['lower'])}, {_bound(row['upper'])}]" for row in rows)
    if "checks" in numbers:
        # What failed is why; the rest is printed with --json.
        ordered = sorted(numbers["checks"], key=lambda check: check["passed"])
        return "\n".join(_check(check) for check in ordered[:_LISTED_CHECKS])
    return ", ".join(f"{name} {value}" for name, value in numbers.items() if value not in {None, ""})


def _bound(value: float | None) -> str:
    return "?" if value is None else f"{value:+.3g}"


def _check(check: Mapping[str, Any]) -> str:
    champion, candidate = check["champion"], check["candidate"]
    values = "" if champion is None or candidate is None else f" {champion:.3g} -> {candidate:.3g}"
    return f"{check['name']}{values} {'ok' if check['passed'] else 'failed'}"


def _gate(row: Adapter) -> str:
    return f"{row.gate}, given up" if row.given_up else row.gate or ""


def list_adapters(*, as_json: bool) -> None:
    """Print what the loop knows of every adapter."""
    rows = ask_console(load_settings(), "/v1/adapters", Adapters).adapters
    if as_json:
        print(json_of(rows, indent=2))
        return
    table = Table("version", "adapter", "state", "parent", "run", "pairs", "gate", "experiment", "verdict", "size")
    versions = {row.adapter: row.version for row in rows}
    for row in rows:
        parent = versions.get(row.parent or "", row.parent or "")
        cells = (row.version, row.adapter, row.state, parent, row.run_id, row.pairs, _gate(row), row.experiment)
        size = "" if row.adapter == "base" else "gone" if row.bytes is None else f"{row.bytes / 1e6:.1f} MB"
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in cells), row.verdict or "", size)
    Console().print(table)
