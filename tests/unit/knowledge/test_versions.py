"""Versions, index versions and front matter."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.knowledge.formats.markdown import read_document
from csqa_loop.knowledge.rules.versions import chunk_id, index_version, policy_version


def test_a_version_is_the_text_s_hash() -> None:
    text = "退货: 14 days"
    assert policy_version(text) == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert policy_version(text) != policy_version(text + "\n")
    assert chunk_id("shop/returns", "0123456789ab", 2) == "shop/returns@0123456789ab#2"


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5)), unique=True, max_size=6), st.randoms())
def test_an_index_version_depends_on_the_set_only(rows: list[tuple[str, str, str]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert index_version(rows) == index_version(shuffled)
    assert len(index_version(rows)) == 12
    assert rows == [] or index_version(rows) != index_version(rows[1:])


def test_front_matter_is_read_and_taken_off() -> None:
    document = read_document('\ufeff---\r\ntitle: "Returns: all"\r\nlang: zh\r\ntags:\r\n  - a\r\n# note\r\n---\r\n正文\r\n')
    assert (document.title, document.language, document.body) == ("Returns: all", "zh", "正文\n")


@given(st.text(alphabet="a\r\n\ufeff "))
def test_line_ends_and_a_byte_order_mark_make_no_other_version(text: str) -> None:
    assert policy_version(text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")) == policy_version(text)
    unix = text.replace("\r", "").replace("\ufeff", "")
    assert policy_version(unix) == hashlib.sha256(unix.encode()).hexdigest()[:12]
    assert policy_version("\ufeff" + unix.replace("\n", "\r\n")) == policy_version(unix)


@pytest.mark.parametrize(
    ("front_matter", "title"),
    [
        ("title: >-\n  Returns and\n  refunds", "Returns and refunds"),
        ("title: |\n  Returns and\n  refunds\n", "Returns and refunds"),
        ("title: Returns\n  and refunds", "Returns and refunds"),
        ("\"title\": 'It''s here'", "It's here"),
        ('title: "Caf\\u00e9"', "Café"),
        ("title: Returns # all", "Returns"),
        ("Title: 2024-05-01", "2024-05-01"),
        ("title: on", "on"),
        ("title: [Returns, refunds]", "Returns"),
        ("title: {a: b}", ""),
        ("title:", ""),
        ("tags:\n- a\n- b\ntitle: Returns", "Returns"),
        ("{title: Returns}", "Returns"),
        ("# only a note", ""),
        ("title: Returns: all of them", "Returns: all of them"),  # no YAML, and meant so by many
        ("title: @shop", "@shop"),
    ],
)
@pytest.mark.parametrize("closing", ["---", "...", "---  "])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_front_matter_is_yaml(front_matter: str, title: str, closing: str, line_end: str) -> None:
    text = f"---\n{front_matter}\n{closing}\nBody\n".replace("\n", line_end)
    for written in (text, "\ufeff" + text):
        document = read_document(written)
        assert (document.title, document.body) == (title, "Body\n")


def test_brackets_without_end_are_no_reason_to_fail() -> None:
    assert read_document("---\ntitle: Fees\na: " + "[" * 3000 + "\n---\nBody").title == "Fees"


@pytest.mark.parametrize(
    "text",
    [
        "---\nnever closed",
        "---\n- a list\n- of two\n---\nrest",
        "---\ntitle: x\nA sentence.\n---\n",
        "---\nA sentence, not a property\n---\nrest",
        "# Title\n---\nx: y\n---\n",
        "",
    ],
)
def test_anything_else_at_the_start_is_text(text: str) -> None:
    assert read_document(text).body == text
