"""A report is one file that loads nothing, runs nothing and shows every text as it is."""

import re
from html.parser import HTMLParser

import pytest

from csqa_loop.analytics import plots
from csqa_loop.analytics.html_page import Figure, Page, PageSection, PageTable, render

HOSTILE = "<script>alert('x')</script> & \"quoted\" $title ${verdict} 退货"


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href", "action", "data"} or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(report: Page) -> _Page:
    page = _Page()
    page.feed(render(report).decode())
    return page


def test_every_text_is_shown_as_it_is_and_none_runs() -> None:
    figure = Figure(plots.bars({"a": 1.0}, title="t", x_label="x"), HOSTILE)
    table = PageTable((HOSTILE,), ((HOSTILE,),))
    page = parsed(Page(HOSTILE, HOSTILE, facts={HOSTILE: HOSTILE}, sections=(PageSection(HOSTILE, HOSTILE, (table,), (figure,)),)))
    assert "script" not in page.opened
    # Title twice, verdict, fact and value, heading, text, column, cell, caption.
    assert page.text.count(HOSTILE) == 10


def test_nothing_is_loaded_from_elsewhere() -> None:
    figure = Figure(plots.bars({"a": 1.0}, title="t", x_label="x"), "bars")
    text = render(Page("t", "v", sections=(PageSection("s", figures=(figure,)),))).decode()
    page = parsed(Page("t", "v", sections=(PageSection("s", figures=(figure,)),)))
    assert [source.partition(",")[0] for source in page.sources] == ["data:image/png;base64"]
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|@import|url\(", text)


@pytest.mark.parametrize(("good", "tone"), [(True, "verdict good"), (False, "verdict bad"), (None, "verdict ")])
def test_the_verdict_has_its_tone(good: bool | None, tone: str) -> None:
    assert f'class="{tone}"' in render(Page("t", "v", good)).decode()


def test_numbers_are_short_and_none_is_a_dash() -> None:
    text = render(
        Page("t", "v", sections=(PageSection("s", tables=(PageTable(("a", "b", "c"), ((1 / 3, None, 12345),), frozenset({0})),)),))
    ).decode()
    assert text.count('<th scope="col" class="number">') == 3
    assert '<tr class="bad"><td class="number">0.3333</td><td class="number">–</td><td class="number">12,345</td></tr>' in text


def test_a_row_must_fill_its_columns() -> None:
    with pytest.raises(ValueError, match="row 1 has 1 cells; the table has 2 columns"):
        PageTable(("a", "b"), (("x", "y"), ("z",)))
