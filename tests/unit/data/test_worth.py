"""What files say about an answer's worth is honoured: what is marked bad is never taught."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.data.rules.columns import ColumnFinder
from csqa_loop.data.rules.examples import Example
from csqa_loop.data.rules.rows import Row, RowRefusedError
from csqa_loop.data.rules.scales import scales_of
from csqa_loop.data.rules.shapes import examples_of


def examples(values: dict[str, Any], column: tuple[object, ...] = ()) -> list[Example]:
    rows = [Row(line, values | ({next(reversed(values)): other} if column else {})) for line, other in enumerate(column or (0,), start=1)]
    return examples_of(values, ColumnFinder().find(values), scales_of(rows))


def conversation(*marks: dict[str, Any], speaker: str = "role", text: str = "content") -> dict[str, Any]:
    turns: list[dict[str, Any]] = []
    for number, mark in enumerate(marks):
        turns += [
            {speaker: "user", text: f"Is lamp {number} in stock?"},
            {speaker: "assistant", text: f"Lamp {number} is in stock."} | mark,
        ]
    return {"messages": turns}


@pytest.mark.parametrize(
    "mark",
    [{"weight": 0}, {"weight": 0.0}, {"loss": False}, {"loss": 0}, {"train": False}, {"training": "false"}, {"loss_scale": 0},
     {"train_detail": [{"begin_offset": 0, "end_offset": 4, "train": False}]}],
)  # fmt: skip
def test_a_turn_that_is_marked_off_is_context_and_never_taught(mark: dict[str, Any]) -> None:
    [example] = examples(conversation(mark, {}))
    assert (example.answer, example.liked) == ("Lamp 1 is in stock.", None)
    assert example.messages[1].content == "Lamp 0 is in stock."
    with pytest.raises(RowRefusedError, match="not to be taught"):
        examples(conversation(mark))


@given(st.lists(st.booleans(), min_size=1, max_size=5))
def test_exactly_the_turns_that_are_not_marked_off_are_taught(taught: list[bool]) -> None:
    row = conversation(*({"weight": int(each)} for each in taught))
    found = examples(row) if any(taught) else []
    assert [example.answer for example in found] == [f"Lamp {number} is in stock." for number, each in enumerate(taught) if each]


def test_a_thumb_on_one_turn_is_of_that_turn() -> None:
    found = examples(conversation({"rating": "down"}, {}, {"thumb": "up"}, {"rating": "3/5"}))
    assert [(example.answer, example.liked) for example in found] == [
        ("Lamp 0 is in stock.", False), ("Lamp 1 is in stock.", None), ("Lamp 2 is in stock.", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value", "liked"),
    [
        ("rating", 5, True), ("rating", "4", True), ("rating", 2, False), ("rating", 1, False), ("Rating", "4/5", True), ("stars", "★★☆☆☆", False),
        ("star rating", "1 star", False), ("score", 0.9, True), ("score", 0.1, False), ("score", "85%", True), ("overall_score", 9.5, True),
        ("thumbs_up", True, True), ("thumbs_down", True, False), ("thumbs_down", "true", False), ("downvoted", 3, False), ("helpful", False, False),
        ("is_correct", "yes", True), ("rejected", True, False), ("feedback", "thumbs_down", False), ("feedback", "It came late.", None),
        ("flagged", False, None), ("likes", 0, None), ("upvotes", 4, True), ("quality", "high", None), ("thumbs_up", False, False), ("评分", 5, True), ("label", "accepted", True), ("kto_tag", False, False), ("vote", "-1", False),
    ],
)  # fmt: skip
def test_ratings_and_thumbs_of_an_answer(column: str, value: object, liked: bool | None) -> None:
    [example] = examples({"question": "Is it in stock?", "answer": "Yes, it is.", column: value})
    assert example.liked is liked


@pytest.mark.parametrize(
    ("more", "kind"),
    [({"rating": 3}, "neither"), ({"rating": "neutral"}, "neither"), ({"score": 0.5}, "neither"), ({"score": 1}, "label"),
     ({"reward": -7.5}, "label"), ({"rating": 5, "thumbs_down": True}, "label"), ({"label": "maybe"}, "label"), ({"weight": 0}, "untaught"),
     ({"train": "false"}, "untaught")],
)  # fmt: skip
def test_an_answer_that_is_neither_good_nor_bad_is_not_taught(more: dict[str, object], kind: str) -> None:
    with pytest.raises(RowRefusedError) as caught:
        examples({"question": "Is it in stock?", "answer": "Yes, it is."} | more)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("name", "column", "liked"),
    [("label", (0, 1), True), ("label", (1, 5), False), ("rating", (0, 1), True), ("rating", (1, 3), False), ("score", (-1, 1), True),
     ("score", (1, 10), False), ("label", (-1, 1), True)],
)  # fmt: skip
def test_a_one_is_read_by_the_numbers_of_its_column(name: str, column: tuple[int, ...], liked: bool) -> None:
    [example] = examples({"question": "Is it in stock?", "answer": "Yes, it is.", name: 1}, column)
    assert example.liked is liked


def test_a_label_of_many_classes_is_no_thumb() -> None:
    with pytest.raises(RowRefusedError, match="runs from 0 to 76"):
        examples({"question": "Is it in stock?", "answer": "Yes, it is.", "label": 1}, (0, 1, 76))
