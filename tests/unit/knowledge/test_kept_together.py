"""A piece of a list, of a table or with a footnote can be understood by itself."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csqa_loop.knowledge.rules.chunking import chunk_markdown

LIMIT = 400
_LEAD = "The following cannot be returned:"


def _texts(document: str, limit: int = LIMIT) -> list[str]:
    texts = [passage.text for passage in chunk_markdown(document, limit)]
    assert all(len(text) <= limit for text in texts)
    return texts


def _holding(texts: list[str], wanted: str) -> list[str]:
    found = [text for text in texts if wanted in text]
    assert found, wanted
    return found


@pytest.mark.parametrize("marker", ["- ", "* ", "1. ", "1) ", "> - ", "• ", "(a) ", "1、", "（一）", "一、"])
@pytest.mark.parametrize("between", ["\n", "\n\n"])
def test_each_piece_of_a_list_carries_its_lead_in(marker: str, between: str) -> None:
    items = [f"goods of kind {number}, in any colour or size, opened or not" for number in range(20)]
    texts = _texts(f"# Returns\n\nWe take most things. {_LEAD}\n\n" + between.join(marker + item for item in items))
    assert len(texts) > 3
    for item in items:
        assert all(_LEAD in text for text in _holding(texts, item))
    assert [text for text in texts if _LEAD in text and "goods of kind" not in text] == []
    assert sum("We take most things." in text for text in texts) == 1


def test_nested_items_carry_the_items_that_they_stand_in() -> None:
    inner = "".join(f"    - worn in place {number}, on wet ground or indoors or on a boat\n" for number in range(12))
    texts = _texts(f"# Returns\n\n{_LEAD}\n\n- Shoes\n  - of leather\n{inner}- Software\n")
    assert len(texts) > 1
    for number in range(12):
        for text in _holding(texts, f"place {number},"):
            assert text.index(_LEAD) < text.index("- Shoes") < text.index("of leather") < text.index(f"place {number},")
    assert all(_LEAD in text for text in _holding(texts, "- Software"))


def test_a_second_paragraph_of_an_item_carries_the_item() -> None:
    texts = _texts("# Returns\n\n1. Pack the goods.\n\n   " + "Use the box that they came in. " * 9 + "\n\n   Write the number on it. " * 9)
    assert len(texts) > 1
    assert all("1. Pack the goods." in text for text in texts)


def test_each_piece_of_a_table_carries_its_header_and_what_introduces_it() -> None:
    rows = [f"| {number} | {number}.90 |" for number in range(60)]
    texts = _texts("# Fees\n\nHome only:\n\n| Weight    | Fee   |\n|-----------|-------|\n" + "\n".join(rows))
    assert len(texts) > 2
    for row in rows:
        assert all("Home only:" in text and "| Weight | Fee |\n|---|---|" in text for text in _holding(texts, row))
    alone = _texts("# Fees\n\nWe send abroad.\n\n| Weight | Fee |\n|---|---|\n" + "\n".join(rows))
    assert sum("We send abroad." in text for text in alone) == 1


def test_a_table_in_html_has_rows_and_a_header() -> None:
    rows = "".join(f"<tr>\n  <td>{number} g</td><td>{number}.90&nbsp;EUR</td>\n</tr>\n" for number in range(30))
    texts = _texts(f"# Fees\n\n<table>\n<tr><th>Weight</th><th>Fee</th></tr>\n{rows}</table>\n")
    assert len(texts) > 1
    assert all("Weight | Fee" in text for text in texts)
    assert "\n7 g | 7.90 EUR\n" in texts[0]


def test_a_footnote_stands_with_each_piece_that_refers_to_it() -> None:
    filler = "Another sentence about nothing in particular. " * 8
    texts = _texts(
        f"# Returns\n\nGoods go back within 14 days.[^1]\n\n{filler}\n\n## Shoes\n\nSee above.[^1] Fees apply.[^fee]\n\n## End\n\nNo more.\n\n"
        "[^1]: Not for boots.\n\n    Nor for socks.\n[^fee]: 5 EUR[^2]\n[^2]: plus tax\n[^unused]: Kept where it stands.\n"
    )
    for reference in ("14 days.[^1]", "above.[^1]"):
        assert all("Not for boots.\nNor for socks." in text for text in _holding(texts, reference))
    assert all("5 EUR" in text and "plus tax" in text for text in _holding(texts, "apply.[^fee]"))
    assert texts[-1] == "Returns > End\nNo more.\n[^unused]: Kept where it stands."


def test_a_footnote_longer_than_a_piece_is_told_once_in_full() -> None:
    note = " ".join(f"word{number}" for number in range(100))
    texts = _texts(f"# R\n\nOne.[^1]\n\nTwo.[^1]\n\n[^1]: {note}\n")
    assert [word for word in note.split() if not any(word in text.split() for text in texts)] == []
    assert all("[^1]: word0" in text for text in _holding(texts, "Two.[^1]"))


@given(
    st.lists(st.tuples(st.integers(1, 30), st.lists(st.integers(0, 11), max_size=3)), min_size=12, max_size=12), st.sets(st.integers(0, 11))
)
@settings(max_examples=100, deadline=None)
def test_no_footnote_is_lost_however_they_refer_to_each_other(notes: list[tuple[int, list[int]]], referred: set[int]) -> None:
    told = [f"N{number}n " + "word " * size + "".join(f"[^{other}]" for other in others) for number, (size, others) in enumerate(notes)]
    text = "# R\n\n" + "\n\n".join(f"See[^{number}]." for number in sorted(referred)) + "\n\n"
    texts = _texts(text + "\n".join(f"[^{number}]: {note}" for number, note in enumerate(told)), 300)
    for number, (size, _) in enumerate(notes):
        assert any(f"N{number}n" + " word" * size in piece for piece in texts), number


def test_what_is_repeated_gives_way_to_the_content() -> None:
    lead = "Whatever was bought " + "and then perhaps sold again " * 20 + "cannot be returned:"
    long = "an item of one sentence " * 14
    texts = _texts(f"# R\n\n{lead}\n\n- {long}\n- short\n")
    assert any(f"- {long.strip()}" in text for text in texts), "an item that fits is whole"
    (short,) = _holding(texts, "- short")
    assert "Whatever was bought" in short
    assert "cannot be returned:" in short
    assert "…" in short
    whole = " ".join(" ".join(texts).split())
    assert all(word in whole for word in lead.split())


# --- generated documents ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """A text that must be whole in some piece, and what every piece that holds it must hold too."""

    text: str
    beside: tuple[str, ...] = ()


_sizes = st.integers(2, 14)


@st.composite
def _documents(draw: st.DrawFn) -> tuple[str, list[Claim]]:
    parts, claims, count = ["# Returns"], [], iter(range(10_000))

    def said(size: int) -> str:
        number = next(count)
        return draw(st.sampled_from([f"S{number}s " + "word " * size + "end", f"第{number}条" + "退货期限" * size]))

    def listed(lead: tuple[str, ...], indent: str, depth: int) -> None:
        for _ in range(draw(st.integers(1, 6))):
            item = said(draw(_sizes))
            parts.append(f"{indent}- {item}")
            claims.append(Claim(item, lead))
            if depth < 3 and draw(st.integers(0, 3)) == 0:
                listed((*lead, item), indent + "  ", depth + 1)

    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["heading", "paragraph", "list", "table"]))
        parts.append("")
        if kind == "heading":
            parts.append("#" * draw(st.integers(2, 4)) + " " + said(2))
        elif kind == "paragraph":
            sentences = [said(draw(_sizes)) for _ in range(draw(st.integers(1, 9)))]
            parts.append(" ".join(sentence + ("." if sentence.isascii() else "。") for sentence in sentences))
            claims += map(Claim, sentences)
        elif kind == "list":
            lead = said(draw(_sizes)) + ":"
            parts += [lead, ""]
            listed((lead,), "", 1)
        else:
            header = f"| {said(2)} | {said(2)} |"
            parts += [header, "|---|---|"]
            for _ in range(draw(st.integers(1, 8))):
                parts.append(f"| {said(draw(st.integers(1, 6)))} | x |")
                claims.append(Claim(parts[-1], (header,)))
    return "\n".join(parts), claims


@given(_documents())
@settings(max_examples=200, deadline=None)
def test_no_sentence_item_or_row_is_cut_or_without_what_gives_it_meaning(made: tuple[str, list[Claim]]) -> None:
    document, claims = made
    texts = _texts(document, 700)
    for claim in claims:
        for text in _holding(texts, claim.text):
            assert all(wanted in text for wanted in claim.beside), claim
