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


@pytest.mark.parametrize("text", ["---\nnever closed", "---\nA sentence, not a property\n---\nrest", "# Title\n---\nx: y\n---\n", ""])
def test_anything_else_at_the_start_is_text(text: str) -> None:
    assert read_document(text).body == text
