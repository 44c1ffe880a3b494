"""A report as one HTML file: nothing in it is loaded from elsewhere or runs, and every text is escaped."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from string import Template

Cell = str | float | None
"""None is shown as a dash, a count in full and any other number with four digits."""


@dataclass(frozen=True)
class PageTable:
    """Rows under their columns; those whose number is in `bad` stand out."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    bad: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                msg = f"row {number} has {len(row)} cells; the table has {len(self.columns)} columns"
                raise ValueError(msg)


@dataclass(frozen=True)
class Figure:
    """A PNG with what it shows, also for those who cannot see it."""

    png: bytes
    caption: str


@dataclass(frozen=True)
class PageSection:
    """A heading and what stands under it: text, tables, figures."""

    title: str
    text: str = ""
    tables: tuple[PageTable, ...] = ()
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class Page:
    """A report, verdict first."""

    title: str
    verdict: str
    good: bool | None = None
    """Whether the verdict is good; None where it is neither good nor bad."""
    facts: Mapping[str, str] = field(default_factory=dict)
    sections: tuple[PageSection, ...] = ()


def render(report: Page) -> bytes:
    """The report as UTF-8. Equal reports give equal bytes."""
    page = resources.files("csqa_loop.analytics").joinpath("html_page.html").read_text(encoding="utf-8")
    facts = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in report.facts.items())
    tone = "" if report.good is None else "good" if report.good else "bad"
    filled = Template(page).substitute(
        title=escape(report.title),
        verdict=escape(report.verdict),
        tone=tone,
        facts=facts,
        sections="\n".join(_section(section) for section in report.sections),
    )
    return filled.encode()


def _section(section: PageSection) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    if section.text:
        parts.append(f"<p>{escape(section.text)}</p>")
    parts.extend(_table(table) for table in section.tables)
    parts.extend(_figure(figure) for figure in section.figures)
    return "<section>\n" + "\n".join(parts) + "\n</section>"


def _table(table: PageTable) -> str:
    head = "".join(_head(column, [row[place] for row in table.rows]) for place, column in enumerate(table.columns))
    rows = "\n".join(_row(row, bad=number in table.bad) for number, row in enumerate(table.rows))
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>'


def _head(column: str, cells: list[Cell]) -> str:
    numbers = cells and not any(isinstance(cell, str) for cell in cells)
    opening = '<th scope="col" class="number">' if numbers else '<th scope="col">'
    return f"{opening}{escape(column)}</th>"


def _row(row: tuple[Cell, ...], *, bad: bool) -> str:
    opening = '<tr class="bad">' if bad else "<tr>"
    return f"{opening}{''.join(map(_cell, row))}</tr>"


def _cell(value: Cell) -> str:
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    text = "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    return f'<td class="number">{text}</td>'


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure.png).decode("ascii")
    caption = escape(figure.caption)
    return f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
