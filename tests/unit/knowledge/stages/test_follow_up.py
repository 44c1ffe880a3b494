"""Questions that lean on the turn before them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.knowledge.stages.follow_up import leans, searched


@pytest.mark.parametrize(
    "question",
    [
        "and how long does that take?",
        "What about laptops?",
        "why?",
        "Is it free?",
        "那续航呢",
        "多少钱",
        "这个要多久",
        "它防水吗",
        "还有别的吗",
        "how much",
    ],
)
def test_a_question_that_says_nothing_alone_is_searched_with_the_one_before(question: str) -> None:
    assert leans(question)
    assert searched(question, ["first", "Can I return a kettle?"]) == f"Can I return a kettle?\n{question}"
    assert searched(question, []) == question


@pytest.mark.parametrize(
    "question",
    [
        "How many days do I have to return a laptop that I bought online?",
        "My order arrived damaged and I want my money back, what do I have to do now?",
        "电动自行车的电池可以保修多长时间",
        "冬天很冷的时候怎么给车充电比较好呢",
    ],
)
def test_a_question_that_stands_alone_is_searched_alone(question: str) -> None:
    assert searched(question, ["Can I return a kettle?"]) == question


@given(st.text(), st.lists(st.text(), max_size=3))
def test_the_question_is_always_in_what_is_searched(question: str, turns: list[str]) -> None:
    assert searched(question, turns).endswith(question)
