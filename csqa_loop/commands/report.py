"""`csqa report`: a week on one page."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from csqa_loop.analytics import plots
from csqa_loop.analytics.html_page import Cell, Figure, Page, PageSection, PageTable
from csqa_loop.analytics.page_files import check_page, write_page
from csqa_loop.errors import PermanentError
from csqa_loop.settings import load_settings

_FIGURES = {
    "questions": "questions",
    "answers": "answers",
    "users": "users",
    "rated": "answers rated",
    "thumbs_up": "thumbs up",
    "thumbs_down": "thumbs down",
    "satisfaction": "share of thumbs up",
    "unanswered": "answers that no policy covers",
    "unanswered_share": "share of them",
    "handoffs": "answers handed over to a person",
    "median_latency_ms": "median latency, ms",
    "bad_cases": "bad cases reported",
    "pairs": "preference pairs made",
}
_LISTS = {
    "bad_cases_by_fault": "Bad cases by whose fault they are",
    "pairs_by_source": "Preference pairs by source",
    "runs": "Training runs",
    "experiments": "Experiments",
    "policy_changes": "Policy changes",
}
_BAD = {"ROLL_BACK", "INVALID", "refused", "failed"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    out: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Where to write the page.")] = None,
    week: Annotated[str, typer.Option(metavar="YYYY-Www", help="ISO week, UTC. Default: that of the newest data.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")] = False,
) -> None:
    """Sum up a week: questions, answers, thumbs, unanswered ones, bad cases by fault, pairs, runs, experiments, policy changes.

    Reads the copy for analysts, so that nothing waits; it may be some seconds old.

    Example: csqa report --week 2026-W19 --out week.html
    """
    from csqa_loop.analytics.weekly import weekly

    if out is None and not as_json:
        raise PermanentError("name a page with --out FILE.html, or print the figures with --json")
    if out is not None:
        check_page(out)
    figures = json.loads(json.dumps(weekly(load_settings().analytics_file, week or None), default=_text))
    if as_json:
        print(json.dumps(figures, ensure_ascii=False, indent=2))
    if out is not None:
        write_page(out, weekly_page(figures), quiet=as_json)


def weekly_page(week: Mapping[str, Any]) -> Page:
    """The page of a week's figures."""
    figures = week["figures"]
    happy = "nobody rated" if figures["satisfaction"] is None else f"{figures['satisfaction']:.0%} of {figures['rated']:,} thumbs up"
    return Page(
        title=f"Week {week['week']}",
        verdict=f"{figures['answers']:,} answers to {figures['users']:,} users; {happy}; {figures['bad_cases']:,} bad cases",
        facts={"from": _day(week["since"]), "until, not included": _day(week["until"]), "as of": _minute(week["as_of"])},
        sections=(_summary(week), *_days(week["days"]), *(_list(title, week[name]) for name, title in _LISTS.items())),
    )


def _summary(week: Mapping[str, Any]) -> PageSection:
    rows = tuple((name, week["figures"][key], week["week_before"][key]) for key, name in _FIGURES.items())
    return PageSection("The week and the one before", tables=(PageTable(("", week["week"], "week before"), rows),))


def _days(days: Sequence[Mapping[str, Any]]) -> tuple[PageSection, ...]:
    if not days:
        return ()
    drawn = plots.bars({day["day"]: day["answers"] for day in days}, title="Answers a day", x_label="answers")
    return (PageSection("Day by day", tables=(_table(days),), figures=(Figure(drawn, "Answers a day"),)),)


def _list(title: str, rows: Sequence[Mapping[str, Any]]) -> PageSection:
    if not rows:
        return PageSection(title, "None.")
    drawn = [
        plots.Range(row["experiment_id"], row["estimate"], row["lower"], row["upper"], unit=row["primary_metric"])
        for row in rows
        if row.get("estimate") is not None
    ]
    caption = "Challenger minus control in the primary metric, with bounds"
    if drawn:
        return PageSection(title, tables=(_table(rows),), figures=(Figure(plots.ranges(drawn, title=title), caption),))
    cases = {row["fault"]: row["cases"] for row in rows if "fault" in row}
    figures = (Figure(plots.bars(cases, title=title, x_label="cases"), title),) if cases else ()
    return PageSection(title, tables=(_table(rows),), figures=figures)


def _table(rows: Sequence[Mapping[str, Any]]) -> PageTable:
    columns = tuple(rows[0])
    bad = frozenset(number for number, row in enumerate(rows) if _BAD & {row.get("verdict"), row.get("state")})
    cells = tuple(tuple(_cell(column, row[column]) for column in columns) for row in rows)
    return PageTable(tuple(column.replace("_", " ") for column in columns), cells, bad)


def _cell(column: str, value: Any) -> Cell:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _minute(value) if column.endswith("_at") and value else value


def _text(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} is no JSON")
    return value.astimezone(UTC).isoformat()


def _day(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d}"


def _minute(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M} UTC"
