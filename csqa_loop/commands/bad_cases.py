"""`csqa bad-cases`: what went wrong, where it came from, and who can mend it."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from csqa_loop.analytics import plots
from csqa_loop.commands.console_client import ask_console, json_of
from csqa_loop.errors import PermanentError
from csqa_loop.events import now
from csqa_loop.evidence.rules.blame import Fault
from csqa_loop.evidence.rules.case_report import CaseReport
from csqa_loop.files.durable import write_atomically
from csqa_loop.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Bad answers: how many, of what kind, and what the policies' owners have to write.")
_AGO = re.compile(r"(\d+)([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_SECONDS = 300.0
_TO_DO = {
    Fault.MISSING_POLICY: "write it",
    Fault.STALE_POLICY: "bring it up to date",
    Fault.RETRIEVAL_MISS: "word it so that it is found",
}
_DRAWN = 20
"""Policies with a bar of their own."""
_NO_POLICY = "(no policy)"


@app.callback()
def group() -> None:
    """Bad answers: how many, of what kind, and what the policies' owners have to write."""


@app.command()
def report(
    since: Annotated[str, typer.Option(metavar="AGO|DATE", help="12h, 7d, 4w, or a date (UTC) such as 2026-05-04.")] = "7d",
    until: Annotated[str, typer.Option(metavar="AGO|DATE", help="Up to then, not including it. Default: now.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Rows of each table; --json is never cut.")] = 10,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Also draw how many cases each fault and each policy has.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")] = False,
) -> None:
    """Show the bad answers of a period: by fault, reason, matter and policy, in groups of similar questions.

    A fault says who can mend an answer: `generation` is trained away, `retrieval_miss`, `stale_policy` and `missing_policy` are for the
    policies' owners, `not_the_model` came from a cache, a tool or a refusal.

    Example: csqa bad-cases report --since 30d --plot faults.png
    """
    moment = now()
    period = {"since": moment_of("--since", since, moment)} | ({"until": moment_of("--until", until, moment)} if until else {})
    if plot is not None:
        _check_plot(plot)
    query = urlencode({name: value.isoformat() for name, value in period.items()})
    case_report = ask_console(load_settings(), f"/v1/bad-cases/report?{query}", CaseReport, timeout=_SECONDS)
    if plot is not None:
        write_atomically(plot, _plot(case_report))
    if as_json:
        print(json_of(case_report, indent=2))
    else:
        _show(Console(), case_report, limit)


def moment_of(option: str, text: str, moment: datetime) -> datetime:
    """`7d` before `moment`, or a date or time, in UTC where it names no zone.

    Raises:
        PermanentError: it is neither.
    """
    if ago := _AGO.fullmatch(text):
        try:
            return moment - int(ago[1]) * _UNITS[ago[2]]
        except OverflowError as error:
            raise PermanentError(f"{option} {text} is before the first year") from error
    try:
        named = datetime.fromisoformat(text)
    except ValueError as error:
        raise PermanentError(f"{option} {text!r} is neither a time ago (12h, 7d, 4w) nor a date (2026-05-04)") from error
    return named if named.tzinfo else named.replace(tzinfo=UTC)


def _check_plot(file: Path) -> None:
    if file.suffix.lower() != ".png":
        raise PermanentError(f"--plot {file} ends in {file.suffix!r}; name a .png file")
    if not file.parent.is_dir():
        raise PermanentError(f"--plot {file}: {file.parent} is not a folder")


def _plot(report: CaseReport) -> bytes:
    """Faults above, policies below: each case is counted in both."""
    counted = {f"fault: {count.name}": count.cases for count in report.by_fault}
    counted |= {f"policy: {count.name or _NO_POLICY}": count.cases for count in report.by_policy[:_DRAWN]}
    if rest := sum(count.cases for count in report.by_policy[_DRAWN:]):
        counted["policy: others"] = rest
    return plots.bars(counted, title=f"{report.cases:,} bad cases", x_label="cases")


def _show(console: Console, report: CaseReport, limit: int) -> None:
    share = f" ({report.cases / report.answers:.1%} of {report.answers:,} answers)" if report.answers else ""
    since = f" since {report.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if report.since else ""
    console.print(f"[bold]{report.cases:,} bad cases[/bold]{share}{since}", highlight=False)
    counts = ("", "cases", "share")
    for title, rows in (("by fault", report.by_fault), ("by reason", report.by_reason), ("by matter", report.by_category)):
        _print(console, title, counts, [(row.name, row.cases, f"{row.share:.0%}") for row in rows], limit)
    faults = [count.name for count in report.by_fault]
    crossed: list[tuple[str | int, ...]] = [
        (row.policy_id or _NO_POLICY, row.cases, *(row.faults.get(fault, 0) for fault in faults)) for row in report.faults_by_policy
    ]
    _print(console, "by policy and fault", ("policy", "cases", *faults), crossed, limit)
    clusters = [(row.size, row.wordings, row.question, ", ".join(row.policies), _mixture(row.faults)) for row in report.clusters]
    _print(console, "similar questions", ("cases", "wordings", "for example", "policies", "faults"), clusters, limit)
    gaps = [
        (row.policy_id or _NO_POLICY, row.section, _TO_DO[row.fault], row.missing, row.cases, row.question)
        for row in report.knowledge_faults
    ]
    _print(console, "for the policies' owners", ("policy", "section", "to do", "because", "cases", "for example"), gaps, limit)
    questions = [(row.question, row.answers, row.thumbs_up, row.thumbs_down, row.bad_cases) for row in report.most_asked]
    _print(console, "most asked, whatever was thought of it", ("question", "answers", "up", "down", "reported"), questions, limit)


def _print(console: Console, title: str, columns: Sequence[str], rows: Sequence[tuple[str | int, ...]], limit: int) -> None:
    """Print a table with numbers to the right; nothing where there is no row."""
    if not rows:
        return
    more = f"{len(rows) - limit:,} more: --limit or --json shows them" if len(rows) > limit else None
    table = Table(title=title, title_justify="left", title_style="bold", caption=more, caption_justify="left")
    for column, value in zip(columns, rows[0], strict=True):
        table.add_column(column, justify="right" if isinstance(value, int) else "left", overflow="fold")
    for row in rows[:limit]:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else escape(value) for value in row))
    console.print()
    console.print(table)


def _mixture(faults: Mapping[str, int]) -> str:
    return ", ".join(f"{fault} {count}" if len(faults) > 1 else fault for fault, count in faults.items())
