"""`csqa promote`, `rollback`, `pause`, `resume`: people decide; `csqa audit` and the list of adapters: what was decided, and about what."""

import getpass
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from csqa_loop.commands.console_client import ask_console, json_of
from csqa_loop.console.answers import Adapter, Adapters, Audit, Status
from csqa_loop.errors import CsqaError
from csqa_loop.events import OperatorActed
from csqa_loop.rollout.rules.orders import OrderAction
from csqa_loop.settings import Settings, load_settings

_LISTED_CHECKS = 3
_SECOND = "%Y-%m-%d %H:%M:%S"
Reason = Annotated[str, typer.Option("--reason", "-m", metavar="TEXT", help="Why; everybody can read it in `csqa audit`.")]
Operator = Annotated[str, typer.Option("--operator", metavar="NAME", help="Who decides. Default: who is logged in.")]
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
    as_json: Json = False,
) -> None:
    """Make an adapter the champion. An open experiment ends INCONCLUSIVE; traffic moves once every replica holds the adapter.

    Example: csqa promote v1.3 --reason "the November tariff needs it"
    """
    decide("promote", reason, operator, target=adapter, override=override, as_json=as_json)


def rollback(
    reason: Reason,
    to: Annotated[str, typer.Option("--to", metavar="ADAPTER", help="Name, version or base. Default: the previous champion.")] = "",
    operator: Operator = "",
    as_json: Json = False,
) -> None:
    """Go back to the previous champion at once, also while an experiment runs, which ends INCONCLUSIVE. Nothing restarts.

    Example: csqa rollback --reason "it quotes last year's prices"
    """
    decide("rollback", reason, operator, target=to, as_json=as_json)


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


def decide(action: OrderAction, reason: str, operator: str, *, target: str = "", override: bool = False, as_json: bool = False) -> None:
    """Ask the loop to record the decision, and print what was recorded.

    Raises:
        PermanentError: it cannot be done; the loop says why.
    """
    body = {"operator": operator or getpass.getuser(), "reason": reason, "target": target, "override": override}
    event = ask_console(load_settings(), f"/v1/operator/{action}", OperatorActed, body=body)
    if as_json:
        print(json_of(event))
        return
    about = event.target or (event.experiment_id if action == "stop" else "")
    print(f"{action} {about}".rstrip() + f" recorded for {event.operator}; `csqa audit` shows what came of it")
    if event.overridden:
        print(f"overridden: {event.overridden}")


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
