"""Preference files of many tools: the better answer, the worse one, and the prompt of both."""

import json
from typing import Any

import pytest

from csqa_loop.data.rules.columns import UNREAD, ColumnFinder
from csqa_loop.data.rules.examples import Example
from csqa_loop.data.rules.reasoning import without_reasoning
from csqa_loop.data.rules.rows import RowRefusedError
from csqa_loop.data.rules.shapes import examples_of
from csqa_loop.data.rules.turns import Notes
from csqa_loop.data.rules.unfolding import unfolded
from csqa_loop.errors import PermanentError
from csqa_loop.events import ChatMessage

Q, GOOD, BAD = "Do you ship abroad?", "We ship to nine countries.", "No idea at all."
ASKED: dict[str, Any] = {"role": "user", "content": Q}
BETTER: dict[str, Any] = {"role": "assistant", "content": GOOD}
WORSE: dict[str, Any] = {"role": "assistant", "content": BAD}
PAIR = Example((ChatMessage(role="user", content=Q),), GOOD, BAD)


def examples(values: dict[str, Any], notes: Notes | None = None) -> list[Example]:
    flat = unfolded(values)
    return examples_of(flat, ColumnFinder().find(flat), None, notes)


@pytest.mark.parametrize(
    "values",
    [
        {"input": {"messages": [ASKED], "tools": []}, "preferred_output": [BETTER], "non_preferred_output": [WORSE]},
        {"prompt": Q, "chosen": [ASKED, BETTER], "rejected": [ASKED, WORSE]},
        {"prompt": [ASKED], "chosen": [ASKED, BETTER], "rejected": [ASKED, WORSE]},
        {"prompt": Q, "chosen": f"{Q} {GOOD}", "rejected": f"{Q} {BAD}"},
        {"prompt": Q, "chosen": json.dumps([ASKED, BETTER]), "rejected": str([ASKED, WORSE])},
        {"prompt": Q, "messages": [ASKED, BETTER], "chosen": [ASKED, BETTER], "rejected": [ASKED, WORSE], "score_chosen": 8, "score_rejected": 2},
        {"chosen": f"\n\nHuman: {Q}\n\nAssistant: {GOOD}", "rejected": f"\n\nHuman: {Q}\n\nAssistant: {BAD}"},
        {"messages": [ASKED, BETTER], "rejected_response": BAD},
        {"messages": [ASKED, BETTER], "rejected_messages": [ASKED, WORSE]},
        {"messages": [ASKED, BETTER], "rejected_messages": [WORSE], "label": None},
        {"query": Q, "response": GOOD, "response_rejected": BAD},
        {"query": Q, "chosen": [GOOD], "rejected": [BAD]},
        {"question": Q, "good": GOOD, "bad": BAD},
        {"question": Q, "answer": GOOD, "negative": BAD},
        {"question": Q, "Winner": GOOD, "Loser": BAD},
        {"question": Q, "betterAnswer": GOOD, "worseAnswer": BAD},
        {"instruction": Q, "completions": [{"response": BAD, "overall_score": 2}, {"response": GOOD, "overall_score": 8.5}]},
        {"instruction": Q, "generations": [BAD, "Perhaps we do.", GOOD], "ratings": [1, None, 5], "generation_models": ["a", "b", "c"]},
        {"fields": {"prompt": Q, "chosen": GOOD, "rejected": BAD}, "responses": [], "metadata": {"seen": 1}},
        {"conversations": [{"from": "human", "value": Q}], "chosen": {"from": "gpt", "value": GOOD}, "rejected": {"from": "gpt", "value": BAD},
         "tools": "[]"},
    ],
)  # fmt: skip
def test_one_pair_in_every_tool(values: dict[str, Any]) -> None:
    assert examples(values) == [PAIR]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"prompt": Q, "chosen": GOOD, "rejected": BAD, "score_chosen": 2, "score_rejected": 5}, "neither"),
        ({"prompt": Q, "chosen": GOOD, "rejected": BAD, "chosen_rank": 2, "rejected_rank": 1}, "neither"),
        ({"prompt": Q, "generations": [GOOD, BAD], "ratings": [4, 4]}, "neither"),
        ({"prompt": Q, "generations": [GOOD, BAD]}, "label"),
        ({"prompt": Q, "chosen": [{"role": "user", "content": "Else?"}, BETTER], "rejected": [ASKED, WORSE]}, "roles"),
        ({"messages": [ASKED, BETTER | {"weight": 0}], "rejected_response": BAD}, "untaught"),
    ],
)  # fmt: skip
def test_a_pair_of_which_no_answer_is_known_to_be_better_is_refused(values: dict[str, Any], kind: str) -> None:
    with pytest.raises(RowRefusedError) as caught:
        examples(values)
    assert caught.value.kind == kind


def test_what_annotators_said_stands_before_what_was_suggested() -> None:
    fields = {"fields": {"instruction": Q, "response": BAD}}
    rows = (
        {"responses": {"rating": [{"value": 1, "user_id": "u"}]}, "suggestions": {"rating": {"value": 5, "agent": "m"}}},
        {"responses": [{"status": "submitted", "values": {"label": {"value": "bad"}}}], "suggestions": [{"question_name": "label", "value": "good"}]},
    )  # fmt: skip
    for row in rows:
        assert [(example.answer, example.liked) for example in examples(fields | row)] == [(BAD, False)]
    draft = {
        "responses": [{"status": "draft", "values": {"label": {"value": "good"}}}],
        "suggestions": [{"question_name": "label", "value": "bad"}],
    }
    assert examples(fields | draft)[0].liked is False


def test_each_column_says_what_it_became() -> None:
    values = {"question": Q, "answer": GOOD, "bad reply": BAD, "notes": "n", "empty": "", "thinking": "hm"}
    became = dict(ColumnFinder().find(values).became)
    assert became["bad reply"] == "rejected"
    assert became["notes"] == UNREAD
    assert "reasoning" in became["thinking"]
    assert "empty" not in became


def test_nested_columns_can_be_named() -> None:
    values = {"ticket": {"text": Q}, "reply": GOOD}
    given = {"question": "ticket.text"}
    flat = unfolded(values, given)
    assert examples_of(flat, ColumnFinder(given).find(flat))[0].question == Q
    with pytest.raises(PermanentError, match="no column for question"):
        ColumnFinder().find(unfolded(values))


@pytest.mark.parametrize(
    "turns",
    [
        [ASKED, {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "find", "arguments": "{}"}}]},
         {"role": "tool", "content": "nine"}, BETTER],
        [ASKED, {"role": "function_call", "content": "find {}"}, {"role": "observation", "content": "nine"}, BETTER],
        [ASKED, {"role": "assistant", "content": "One moment."}, {"role": "tool_call", "content": "find {}"}, {"role": "tool_response", "content": "nine"},
         BETTER, ASKED],
    ],
)  # fmt: skip
def test_tool_turns_are_context_under_the_customers_message(turns: list[dict[str, Any]]) -> None:
    notes = Notes()
    [example] = examples({"messages": turns}, notes)
    assert example.answer == GOOD
    assert example.question.startswith(Q)
    assert example.question.endswith("[tool call] find {}\n\n[tool result] nine")
    assert any("tool calls" in note for note in notes)


def test_an_empty_system_turn_is_none_and_what_follows_the_last_answer_is_left_out() -> None:
    notes = Notes()
    [example] = examples({"messages": [{"role": "system", "content": " "}, ASKED, BETTER, {"role": "user", "content": "Great."}]}, notes)
    assert (example.messages, example.answer, len(notes)) == (PAIR.messages, GOOD, 2)


@pytest.mark.parametrize(
    "said",
    [f"<think>Nine, I believe.</think>\n{GOOD}", f"<thinking>Nine.\nYes.</thinking>{GOOD}", f"◁think▷Nine.◁/think▷{GOOD}", f"Nine.</think>{GOOD}",
     f"[THINK]Nine.[/THINK]{GOOD}", f"<reasoning>Nine.</reasoning><answer>{GOOD}</answer>", f"<THINK></THINK>{GOOD}",
     f"<|channel|>analysis<|message|>Nine.<|end|><|start|>assistant<|channel|>final<|message|>{GOOD}<|return|>",
     f"<|begin_of_thought|>Nine.<|end_of_thought|><|begin_of_solution|>{GOOD}<|end_of_solution|>"],
)  # fmt: skip
def test_reasoning_is_taken_off(said: str) -> None:
    assert without_reasoning(said) == GOOD
    assert examples({"question": Q, "answer": said})[0].answer == GOOD
    assert examples({"messages": [ASKED, {"role": "assistant", "content": said}]})[0].answer == GOOD


def test_reasoning_that_never_ends_is_no_answer() -> None:
    assert without_reasoning("Write <think> before it.") == "Write <think> before it."
    with pytest.raises(RowRefusedError, match="reasoning"):
        examples({"question": Q, "answer": "<think>Nine, or"})
