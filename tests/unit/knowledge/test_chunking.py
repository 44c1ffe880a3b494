"""Chunks stand alone, fit the limit, and lose nothing of the text."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csqa_loop.knowledge.rules.chunking import PATH_SEPARATOR, chunk_markdown, title_of

RETURNS = """---
title: Returns
---
You may send most things back.

## Electronics

Laptops and phones: 14 days. Unused, in the original box.

## Clothing

30 days.

### Shoes

Worn outside: no return.

## Contact
"""

_words = st.sampled_from(
    [
        "return",
        "14 days",
        "fee: 5.50.",
        "退货期限为十四天。",
        "运费，五元；",
        "a-very-long-unbroken-token" * 3,
        "| a | b |",
        "- item",
        "1) one",
        "e.g.",
        "```",
    ]
)
_line = st.lists(_words, max_size=12).map(" ".join)
_heading = st.builds(
    lambda level, text: "#" * level + " " + text, st.integers(1, 4), st.sampled_from(["Returns", "Fees and prices", "退货政策", "X" * 90])
)
_document = st.lists(
    st.one_of(_line, _heading, st.just(""), st.just("---"), st.text(alphabet="ab#=-` \t。.\u3000", max_size=60)), max_size=40
).map("\n".join)


def test_one_chunk_a_section_under_its_heading_path() -> None:
    passages = chunk_markdown(RETURNS, 700)
    assert [passage.section for passage in passages] == [
        "Returns",
        "Returns > Electronics",
        "Returns > Clothing",
        "Returns > Clothing > Shoes",
        "Returns > Contact",
    ]
    assert passages[1].text == "Returns > Electronics\nLaptops and phones: 14 days. Unused, in the original box."
    assert passages[4].text == "Returns > Contact"


def test_a_first_heading_is_the_title_and_names_every_section() -> None:
    text = "# Shipping\n\n## Cost\n\n5 EUR.\n\n## Time ##\n\n2 days."
    assert title_of(text) == "Shipping"
    assert [passage.section for passage in chunk_markdown(text, 700)] == ["Shipping > Cost", "Shipping > Time"]


def test_a_heading_that_repeats_the_title_is_not_a_section_of_it() -> None:
    assert [passage.section for passage in chunk_markdown("---\ntitle: Shipping\n---\n# Shipping\n\n5 EUR.", 700)] == ["Shipping"]


def test_underlined_headings_and_code() -> None:
    text = "Fees\n====\n\nStandard\n--------\n\n5 EUR\n\n```\n# not a heading\n```\n"
    passages = chunk_markdown(text, 700)
    assert [passage.section for passage in passages] == ["Fees > Standard"]
    assert "# not a heading" in passages[0].body


def test_a_rule_after_a_paragraph_is_kept_as_text() -> None:
    (passage,) = chunk_markdown("one\n\n---\n\ntwo", 700)
    assert passage.body == "one\n\n---\n\ntwo"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("# 退货\n\n" + "电子产品的退货期限为十四天。服装的退货期限为三十天！" * 3, 2),
        ("# Returns\n\n" + "Electronics go back within 14 days. Fees (see below.) are 5.50 EUR! " * 2, 3),
    ],
)
def test_a_long_section_breaks_between_sentences(text: str, parts: int) -> None:
    passages = chunk_markdown(text, 66)
    assert len(passages) >= parts
    assert len({passage.section for passage in passages}) == 1
    assert all(passage.text[-1] in ".)!。！" for passage in passages)


def test_paragraphs_are_kept_whole_where_they_fit() -> None:
    paragraphs = ["Alpha " * 10, "Beta " * 10, "Gamma " * 10]
    bodies = [passage.body for passage in chunk_markdown("# T\n\n" + "\n\n".join(paragraphs), 80)]
    assert bodies == [paragraph.strip() for paragraph in paragraphs]


def test_a_section_does_not_depend_on_text_or_limit() -> None:
    assert {passage.section for passage in chunk_markdown(RETURNS, 60)} == {passage.section for passage in chunk_markdown(RETURNS, 700)}


def test_an_empty_document_has_no_chunks() -> None:
    assert chunk_markdown("---\ntitle: Nothing\n---\n\n", 700) == ()
    assert chunk_markdown("", 700) == ()


@given(_document, st.integers(40, 300))
@settings(max_examples=300, deadline=None)
def test_every_chunk_fits_and_nothing_is_lost(text: str, limit: int) -> None:
    document = "start\n\n" + text  # never front matter
    passages = chunk_markdown(document, limit)
    assert passages == chunk_markdown(document, limit)
    assert all(len(passage.text) <= limit for passage in passages)
    assert all(passage.text.startswith(passage.heading) for passage in passages)
    assert all(passage.section.endswith(passage.heading.rstrip("…")) or passage.heading.endswith("…") for passage in passages)
    told = iter(_letters("".join(passage.text for passage in passages)))
    assert all(letter in told for letter in _letters(document)), "every letter of the document is told, in its order"


@given(st.lists(_line, max_size=30).map("\n".join), st.integers(40, 120))
@settings(max_examples=200, deadline=None)
def test_the_bodies_of_one_section_hold_its_text_and_nothing_else(text: str, limit: int) -> None:
    body = "\n".join(passage.body for passage in chunk_markdown("# Fees and prices\n\n" + text, limit))
    told = iter(_letters(body))
    assert all(letter in told for letter in _letters(text))
    assert all(part in text for part in re.findall(r"\w+", body))


def test_a_heading_that_no_passage_shows_is_text() -> None:
    long, outer = "Fees for parcels " * 4, "Everything about sending parcels abroad and home"
    passages = chunk_markdown(f"# {outer}\n\n## {long}\n\n### Home\n\n5 EUR.", 80)
    told = iter(" ".join(passage.text for passage in passages).split())
    assert all(word in told for word in f"{outer} {long} Home 5 EUR.".split())
    assert all(len(passage.text) <= 80 for passage in passages)
    assert passages[-1].section == PATH_SEPARATOR.join([outer, long.strip(), "Home"])


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text)
