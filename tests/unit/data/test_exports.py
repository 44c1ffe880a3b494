"""What is exported and imported again is the same."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.data.rules.columns import ColumnFinder
from csqa_loop.data.rules.examples import Example, as_row
from csqa_loop.data.rules.exports import Format, pair_rows, rated_row
from csqa_loop.data.rules.shapes import examples_of
from csqa_loop.events import ChatMessage
from csqa_loop.text.normal import normalised

_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).map(str.strip).filter(bool)
_ROUNDS = st.lists(st.tuples(_TEXT, _TEXT), max_size=3)


@st.composite
def pairs(draw: st.DrawFn) -> Example:
    messages = [ChatMessage(role="system", content=text) for text in draw(st.lists(_TEXT, max_size=1))]
    for question, answer in draw(_ROUNDS):
        messages += [ChatMessage(role="user", content=question), ChatMessage(role="assistant", content=answer)]
    messages.append(ChatMessage(role="user", content=draw(_TEXT)))
    chosen = draw(_TEXT)
    # A `rejected` that says no more than true or false is a mark of the answer, also where it is a string.
    rejected = draw(_TEXT.filter(lambda text: normalised(text) != normalised(chosen) and text.casefold() not in {"true", "false"}))
    return Example(tuple(messages), chosen, rejected, category=draw(st.sampled_from(["", "returns"])))


def read_back(rows: Sequence[dict[str, object]]) -> list[Example]:
    finder = ColumnFinder()
    return [example for row in rows for example in examples_of(row, finder.find(row))]


def exported(format_: Format, pair: Example) -> list[dict[str, object]]:
    assert pair.rejected is not None
    return list(pair_rows(format_, [message.model_dump() for message in pair.messages], pair.answer, pair.rejected, pair.category))


@given(pairs())
def test_a_pair_comes_back_whole(pair: Example) -> None:
    assert read_back(exported("dpo", pair)) == [pair]
    assert read_back(exported("sharegpt", pair)) == [pair]
    assert read_back([as_row(pair)]) == [pair]


@given(pairs())
def test_kto_gives_a_liked_and_a_disliked_answer(pair: Example) -> None:
    assert pair.rejected is not None
    liked = Example(pair.messages, pair.answer, liked=True, category=pair.category)
    disliked = Example(pair.messages, pair.rejected, liked=False, category=pair.category)
    assert read_back(exported("kto", pair)) == [liked, disliked]
    messages = [message.model_dump() for message in pair.messages]
    assert read_back([rated_row(messages, pair.rejected, liked=False, category=pair.category)]) == [disliked]


@given(pairs())
def test_alpaca_gives_the_better_answer_alone(pair: Example) -> None:
    [example] = read_back(exported("alpaca", pair))
    assert example == Example(pair.messages, pair.answer, category=pair.category)


def test_the_formats_are_those_of_the_trainers() -> None:
    pair = Example((ChatMessage(role="user", content="How long?"),), "14 days", "7 days")
    asked = [{"role": "user", "content": "How long?"}]
    good, bad = [{"role": "assistant", "content": "14 days"}], [{"role": "assistant", "content": "7 days"}]
    assert exported("dpo", pair) == [{"prompt": asked, "chosen": good, "rejected": bad}]
    assert exported("kto", pair) == [
        {"prompt": asked, "completion": good, "label": True},
        {"prompt": asked, "completion": bad, "label": False},
    ]
    assert exported("alpaca", pair) == [{"instruction": "How long?", "input": "", "output": "14 days"}]
    assert exported("sharegpt", pair) == [
        {
            "conversations": [{"from": "human", "value": "How long?"}],
            "chosen": {"from": "gpt", "value": "14 days"},
            "rejected": {"from": "gpt", "value": "7 days"},
        }
    ]


@pytest.mark.parametrize("turns", [["user", "user"], ["assistant", "user"], ["user", "assistant", "assistant", "user"]])
def test_alpaca_loses_no_customers_words(turns: list[str]) -> None:
    messages = [{"role": role, "content": f"{role} {place}"} for place, role in enumerate(turns)]
    [row] = pair_rows("alpaca", messages, "good", "bad")
    whole = str(row)
    assert all(message["content"] in whole for message in messages if message["role"] == "user")
    assert row["instruction"].endswith(messages[-1]["content"])
