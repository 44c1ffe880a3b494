"""The lexical index follows what is served."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csqa_loop.knowledge.index import Hit
from csqa_loop.knowledge.stages.lexical import LexicalIndex


def hits(policy_id: str, *texts: str) -> list[Hit]:
    return [Hit(f"{policy_id}@1#{number}", policy_id, "1", "", text, 0.0) for number, text in enumerate(texts)]


@pytest.fixture
def index() -> Iterator[LexicalIndex]:
    made = LexicalIndex()
    yield made
    made.close()


def found(index: LexicalIndex, question: str, most: int = 5) -> list[str]:
    index.settle(10)
    return [chunk_id for chunk_id, score in index.search(question, most) if score > 0]


def test_rare_terms_decide_and_inflections_are_one(index: LexicalIndex) -> None:
    index.served("a", hits("a", "Refunds take three days", "Deliveries take two days"))
    index.served("b", hits("b", "Laptops take a charger"))
    assert found(index, "when is my refund there") == ["a@1#0"]
    assert found(index, "delivery of chargers")[0] in {"a@1#1", "b@1#0"}
    assert found(index, "the of and") == []
    assert found(index, "") == []
    assert found(index, "!?") == []


def test_traditional_and_simplified_find_each_other(index: LexicalIndex) -> None:
    index.served("hk", hits("hk", "離島四個工作天送達"))
    index.served("cn", hits("cn", "内地保养卡不适用"))
    assert found(index, "离岛几天") == ["hk@1#0"]
    assert found(index, "內地保養") == ["cn@1#0"]


def test_what_customers_type_is_no_query_language(index: LexicalIndex) -> None:
    index.served("a", hits("a", "returns within 14 days"))
    for question in ("returns AND (", "returns:*", '"returns', "returns OR NOT", "returns^9", "\x00 returns", "returns " * 5000):
        assert found(index, question) == ["a@1#0"], question


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from(["red", "blue", "green"]), max_size=3)), max_size=12))
@settings(max_examples=25, deadline=None)
def test_whatever_changes_it_finds_what_is_served(changes: list[tuple[str, list[str]]]) -> None:
    index = LexicalIndex()
    served: dict[str, list[Hit]] = {}
    for policy_id, texts in changes:
        made = hits(policy_id, *texts)
        served[policy_id] = made
        if made:
            index.served(policy_id, made)
        else:
            index.unserved(policy_id)
    for word in ("red", "blue", "green"):
        expected = {hit.chunk_id for made in served.values() for hit in made if hit.text == word}
        assert set(found(index, word, 20)) == expected
    index.close()
