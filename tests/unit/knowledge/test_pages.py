"""Real pages, where `CSQA_TEST_PAGES` names a history of them: gzipped JSON lines with `policy_id` and `text`."""

import gzip
import hashlib
import html.parser
import json
import os
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from csqa_loop.knowledge.formats.blocks import outline
from csqa_loop.knowledge.formats.markdown import read_document
from csqa_loop.knowledge.rules.chunking import chunk_markdown
from csqa_loop.knowledge.rules.versions import policy_version

LIMIT = 700


@pytest.fixture(scope="module")
def pages() -> list[dict[str, str]]:
    named = os.environ.get("CSQA_TEST_PAGES")
    if not named:
        pytest.skip("real pages need CSQA_TEST_PAGES, a history of policies as gzipped JSON lines")
    with gzip.open(Path(named), "rt", encoding="utf-8") as lines:
        return [page for page in map(json.loads, lines) if page.get("text")]


class _Seen(html.parser.HTMLParser):
    """The text of a rendered page, by a reader of its own."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.feed(MarkdownIt("commonmark").enable("table").render(text))

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def test_nothing_that_a_reader_sees_is_lost(pages: list[dict[str, str]]) -> None:
    for page in pages:
        told = iter(re.sub(r"[\W_]", "", "".join(passage.text for passage in chunk_markdown(page["text"], LIMIT))))
        seen = re.sub(r"[\W_]", "", "".join(_Seen(read_document(page["text"]).body).parts))
        assert all(letter in told for letter in seen), page["policy_id"]


def test_no_chunk_is_too_long_and_none_lacks_what_gives_it_meaning(pages: list[dict[str, str]]) -> None:
    for page in pages:
        passages = chunk_markdown(page["text"], LIMIT)
        assert all(len(passage.text) <= LIMIT for passage in passages)
        for section in outline(read_document(page["text"]).body).sections:
            for block in section.blocks:
                needed = [section.blocks[place].text for place in block.needs]
                if sum(map(len, needed)) > LIMIT // 4 or len(block.text) > LIMIT // 4:
                    continue
                holding = [
                    passage.body for passage in passages if block.text.strip() in passage.body and passage.section.endswith(section.heading)
                ]
                assert holding, (page["policy_id"], block.text)
                assert any(all(one.strip() in body for one in needed) for body in holding), (page["policy_id"], block.text, needed)


def test_their_versions_are_those_of_their_texts(pages: list[dict[str, str]]) -> None:
    plain = [page for page in pages if "\r" not in page["text"] and not page["text"].startswith("\ufeff")]
    assert all(policy_version(page["text"]) == hashlib.sha256(page["text"].encode()).hexdigest()[:12] for page in plain)
