"""HTML in Markdown is told as a reader sees it; CommonMark says what is code, a heading or a comment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.knowledge.formats.markup import lines_of_html, visible
from csqa_loop.knowledge.rules.chunking import chunk_markdown, title_of


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("a <b>bold</b> <span class='x'>b</span>", "a bold b"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("5 &lt; 6 &amp;amp; 7&nbsp;EUR &#8364; &#x20AC;", "5 < 6 &amp; 7 EUR € €"),
        ("&unknown; AT&T ?a=1&copy=2", "&unknown; AT&T ?a=1&copy=2"),
        ("`<b>&amp;` and ``a ` <i>``", "`<b>&amp;` and ``a ` <i>``"),
        (r"\<b> \&amp;", r"\<b> \&amp;"),
        ("write <order number> or <your name>", "write <order number> or <your name>"),
        ("<https://shop.example> <a@shop.example>", "<https://shop.example> <a@shop.example>"),
        ("5 <10 and a <b and c> d", "5 <10 and a <b and c> d"),
        ("x<!-- not\nyet -->y <?php z ?>", "xy "),
        ('<Callout type="info">Read</Callout><my-box/>', "\nRead\n\n".replace("\n\n", "\n")),
        ("14<sup>1</sup> days, 1<sup>st</sup>, H<sub>2</sub>O", "14^1 days, 1st, H2O"),
        ("a<script>var b</script>c<style>d {}</style>", "ac"),
    ],
)
def test_what_a_reader_sees(written: str, seen: str) -> None:
    assert visible(written) == seen


def test_lines_and_rows_of_html() -> None:
    html = "<p>Not returned:</p><ul><li>a</li>\n<li>b &amp; c</li></ul><table>\n<tr><th>x</th><th>y</th></tr><tr>\n<td>1</td>\n<td>2</td>\n</table>"
    lines = [("Not returned:", False), ("- a", False), ("- b & c", False), ("x | y", True), ("1 | 2", True)]
    assert lines_of_html(html) == lines
    assert lines_of_html("<!-- never closed <p>text</p>") == []


@given(st.text(alphabet="ab <>/&;!-`\\=\"'\n#", max_size=60))
def test_without_markup_a_text_stays_as_it_is_and_no_text_breaks_it(text: str) -> None:
    plain = text.replace("<", "").replace("&", "")
    assert visible(plain) == plain
    visible(text)
    lines_of_html(text)


def _sections(text: str) -> list[str]:
    return [passage.section for passage in chunk_markdown(text, 700)]


@pytest.mark.parametrize(
    ("body", "sections"),
    [
        ("- do\n\n  ```sh\n  # step\n    ```\n\n## B\n\nx", ["R", "R > B"]),  # a closing fence is indented as its list item is
        ("1. do\n   ~~~\n   # step\n   ~~~\n\n## B\n\nx", ["R", "R > B"]),
        ("````\n```\n# step\n````\n\n## B\n\nx", ["R", "R > B"]),
        ("~~~\n# step\n```\n~~~\n\n## B\n\nx", ["R", "R > B"]),
        ("``` a`b\n\n## B\n\nx", ["R", "R > B"]),  # no fence: a backtick in its info string
        ("```\n# never closed\n\n## B\n\nx", ["R"]),
        ("text\n\n    # step\n\n## B ##\n\nx", ["R", "R > B"]),
        ("- a\n\n  ## B\n\n> ## C", ["R"]),  # headings of an item and of a quotation
        ("two\nlines\n---\n\nx", ["R > two lines"]),
        ("#no heading\n\n   ## B\n\nx\n\n####### no", ["R", "R > B"]),
        ("<!--\n## old\n\nYou may.\n-->\n\nx <!-- ## B -->", ["R"]),
        ("## <a name='b'></a>Terms &amp; fees <!-- x -->\n\nx", ["R > Terms & fees"]),
    ],
)
def test_headings_are_what_commonmark_calls_so(body: str, sections: list[str]) -> None:
    assert _sections(f"# R\n\n{body}\n") == sections


def test_comments_and_tags_are_no_text() -> None:
    (passage,) = chunk_markdown("# R\n\n<!--\n## until May\n\n90 days.\n-->\n\n14 <em>days</em>&nbsp;left.\n\n- a\n<!-- b -->\n- c\n", 700)
    assert passage.text == "R\n14 days left.\n\n- a\n- c"


def test_code_is_kept_as_it_is_written() -> None:
    (passage,) = chunk_markdown("# R\n\n```html\n<b>&amp;</b>\n<!-- x -->\n```\n", 700)
    assert passage.body == "```html\n<b>&amp;</b>\n<!-- x -->\n```"


def test_what_is_nested_deeper_than_anybody_reads_is_kept() -> None:
    (passage,) = chunk_markdown("> " * 200 + "deep\n\nlast", 700)
    assert "deep" in passage.body
    assert "last" in passage.body


def test_a_title_is_that_of_the_front_matter_without_markup() -> None:
    assert title_of("---\ntitle: >-\n  Returns and\n  refunds\n---\n\n# Other\n") == "Returns and refunds"
    assert title_of("# <b>Returns</b> &amp; refunds\n") == "Returns & refunds"
