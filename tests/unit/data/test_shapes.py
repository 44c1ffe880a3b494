"""Rows of every shape become the examples they mean; the others are refused with a reason."""

import json

import pytest

from csqa_loop.data.rules.columns import ColumnFinder, parse_mapping
from csqa_loop.data.rules.examples import Example, prepared
from csqa_loop.data.rules.rows import RowRefusedError
from csqa_loop.data.rules.shapes import examples_of
from csqa_loop.errors import PermanentError
from csqa_loop.events import ChatMessage
from csqa_loop.text.masking import Known


def examples(values: dict[str, object], **given: str) -> list[Example]:
    return examples_of(values, ColumnFinder(given).find(values))


def said(*turns: tuple[str, str]) -> tuple[ChatMessage, ...]:
    return tuple(ChatMessage(role=role, content=content) for role, content in turns)


@pytest.mark.parametrize(
    "values",
    [
        {"question": "How long?", "chosen": "14 days", "rejected": "7 days"},
        {"prompt": "How long?", "response": "14 days", "rejected_answer": "7 days"},
        {"问题": " How long? ", "答案": "14 days", "错误答案": "7 days"},
        {"Query": "How long?", "Answer": "14 days", "Rejected": "7 days", "label": ""},
        {"prompt": [{"role": "user", "content": "How long?"}], "chosen": [{"role": "assistant", "content": "14 days"}],
         "rejected": [{"role": "assistant", "content": "7 days"}]},
        {"chosen": [{"role": "user", "content": "How long?"}, {"role": "assistant", "content": "14 days"}],
         "rejected": [{"role": "user", "content": "How long?"}, {"role": "assistant", "content": "7 days"}]},
        {"conversations": [{"from": "human", "value": "How long?"}], "chosen": {"from": "gpt", "value": "14 days"},
         "rejected": {"from": "gpt", "value": "7 days"}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "How long?"}]}], "chosen": "14 days", "rejected": "7 days"},
        {"messages": json.dumps([{"role": "user", "content": "How long?"}]), "chosen": "14 days", "rejected": "7 days"},
    ],
)  # fmt: skip
def test_one_pair_in_every_spelling(values: dict[str, object]) -> None:
    assert examples(values) == [Example(said(("user", "How long?")), "14 days", "7 days")]


def test_alpaca_with_input_system_and_history() -> None:
    [example] = examples(
        {"instruction": "Translate", "input": "hello", "output": "你好", "system": "Be brief.", "history": [["Hi", "Hello!"]]}
    )
    assert example.messages == said(("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello!"), ("user", "Translate\n\nhello"))
    assert (example.answer, example.kind) == ("你好", "demonstration")


def test_every_answer_of_a_conversation_is_an_example_with_its_context() -> None:
    turns = [("system", "Be brief."), ("gpt", "Welcome!"), ("human", "q1"), ("gpt", "a1"), ("human", "q2"), ("gpt", "a2")]
    found = examples({"conversations": [{"from": role, "value": text} for role, text in turns], "category": "returns"})
    start = (("system", "Be brief."), ("assistant", "Welcome!"), ("user", "q1"))
    assert [(e.messages, e.answer, e.category) for e in found] == [
        (said(*start), "a1", "returns"),
        (said(*start, ("assistant", "a1"), ("user", "q2")), "a2", "returns"),
    ]


def test_a_thumb_rates_the_last_answer_alone() -> None:
    turns = [{"role": role, "content": text} for role, text in (("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2"))]
    [example] = examples({"messages": turns, "label": False})
    assert (example.question, example.answer, example.liked, example.kind) == ("q2", "a2", False, "rated")


@pytest.mark.parametrize(
    ("thumb", "liked"), [("up", True), (1, True), ("赞", True), (True, True), ("0", False), ("Bad", False), ("", None)]
)
def test_thumbs_in_many_spellings(thumb: object, liked: bool | None) -> None:
    assert examples({"question": "q", "answer": "a", "thumb": thumb})[0].liked is liked


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"question": "", "answer": "a"}, "empty", "question"),
        ({"question": "q", "answer": " "}, "empty", "answer is empty"),
        ({"question": "q", "chosen": "", "rejected": "b"}, "empty", "no chosen one"),
        ({"question": "q", "chosen": "14 Days.", "rejected": "14 days"}, "equal", "say the same"),
        ({"question": "q", "answer": "a", "label": "maybe"}, "label", "'maybe'"),
        ({"question": "q", "chosen": "a", "rejected": "b", "label": 1}, "label", "not both"),
        ({"question": "q", "answer": "a", "split": "later"}, "label", "train or holdout"),
        ({"question": "q", "answer": "a" * 200_001}, "too long", "200001"),
        ({"question": "q", "answer": "a", "category": "c" * 201}, "too long", "category"),
        ({"question": {"text": "q"}, "answer": "a"}, "shape", "JSON object"),
        ({"question": b"\xff", "answer": "a"}, "encoding", "not UTF-8"),
        ({"question": "\ud83d", "answer": "a"}, "encoding", "surrogate"),
        ({"question": "q", "answer": True}, "shape", "chosen is true; text"),
        ({"question": "q", "answer": float("inf")}, "shape", "chosen is Infinity"),
        ({"question": "q", "answer": float("nan")}, "empty", "answer is empty"),
        ({"question": float("nan"), "answer": "a"}, "empty", "'question' is empty"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": False}]}]}, "shape", "false"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "roles", "'tool'"),
        ({"messages": [{"role": "user", "content": ""}]}, "empty", "turn 1"),
        ({"messages": [{"role": "assistant", "content": "Welcome"}]}, "roles", "nothing to learn"),
        ({"messages": ["hello"]}, "roles", "turn 1 is str"),
        ({"messages": "hello"}, "roles", "no JSON list"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "shape", "list"),
        ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "chosen": "b"}, "roles", "customer"),
        ({"question": "q", "answer": "a", "history": [["one"]]}, "roles", "pairs"),
        ({"prompt": [{"role": "user", "content": "q"}], "chosen": [{"role": "user", "content": "a"}]}, "roles", "one assistant message"),
    ],
)
def test_what_cannot_be_an_example_says_why(values: dict[str, object], kind: str, words: str) -> None:
    with pytest.raises(RowRefusedError, match=words) as caught:
        examples(values)
    assert caught.value.kind == kind


def test_a_number_is_a_text_and_an_empty_cell_is_none() -> None:
    [example] = examples({"question": "How many days?", "answer": 14, "category": float("nan"), "label": float("nan")})
    assert (example.answer, example.category, example.liked) == ("14", "", None)


def test_named_columns_win_over_guessed_ones() -> None:
    values = {"answer": "the question", "question": "the answer", "prompt": "not this"}
    [example] = examples(values, question="answer", chosen="question")
    assert (example.question, example.answer) == ("the question", "the answer")


def test_missing_columns_are_named_with_what_was_found() -> None:
    with pytest.raises(PermanentError) as caught:
        ColumnFinder().find({"id": 1, "text": "x"})
    for words in ("question (or prompt", "chosen (or answer", "'id', 'text'", "--columns question=NAME,chosen=NAME"):
        assert words in str(caught.value)
    with pytest.raises(PermanentError, match="columns found: 'question', 'answer'"):
        ColumnFinder(conversations=True).find({"question": "q", "answer": "a"})
    with pytest.raises(PermanentError, match="chosen=NAME|question=NAME"):
        ColumnFinder().find({"chosen": "a", "rejected": "b"})
    with pytest.raises(PermanentError, match="--columns question=gone: there is no such column; columns found: 'question', 'answer'"):
        ColumnFinder({"question": "gone"}).find({"question": "q", "answer": "a"})


def test_a_mapping_is_checked() -> None:
    assert parse_mapping("question=Ticket text, answer = Reply") == {"question": "Ticket text", "chosen": "Reply"}
    for wrong in ("question", "question=", "colour=x"):
        with pytest.raises(PermanentError, match="role=column"):
            parse_mapping(wrong)
    with pytest.raises(PermanentError, match="'Reply' a second role"):
        parse_mapping("question=Reply,chosen=Reply")


def test_personal_data_is_masked_once_and_for_all_but_not_in_system_messages() -> None:
    mail, desk = "write to jane.doe@example.com", "write to jo.b@harbour.example"
    example = prepared(Example(said(("system", desk), ("user", mail)), mail, mail))
    assert [m.content for m in example.messages] == [desk, "write to [email]"]
    assert (example.answer, example.rejected) == ("write to [email]", "write to [email]")
    assert prepared(example) == example


def test_what_the_system_message_states_stays_in_the_answers() -> None:
    desk = "write to jo.b@harbour.example"
    example = Example(said(("system", f"Returns: {desk}."), ("user", "Where?")), f"Please {desk}", desk)
    assert prepared(example) == example
    assert prepared(Example(said(("user", "Where?")), desk), Known.of(["harbour.example"])).answer == desk


def test_an_id_follows_from_what_a_model_learns_from() -> None:
    one = Example(said(("user", "q")), "a", category="x", split="holdout", generator="g")
    assert one.content_id == Example(said(("user", "q")), "a").content_id
    assert one.content_id != Example(said(("user", "q")), "a", "b").content_id != Example(said(("user", "q")), "a", liked=True).content_id
