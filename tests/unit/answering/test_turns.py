"""What a model gets alternates strictly, whatever a frontend sends, and nothing that was said is lost."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.answering.question import Question
from csqa_loop.answering.rules.turns import alternating
from csqa_loop.events import ChatMessage, Sampling
from tests.fakes.gateway import World

MESSAGES = st.lists(
    st.builds(ChatMessage, role=st.sampled_from(["user", "assistant"]), content=st.sampled_from(["", " ", "\n", "a", "b", "b\nc", "退货"]))
)
SAMPLING = Sampling(temperature=0.0, top_p=1.0, max_tokens=50)


def said(role: str, text: str) -> ChatMessage:
    return ChatMessage(role=role, content=text)  # type: ignore[arg-type]


@given(MESSAGES)
def test_turns_alternate_and_begin_with_the_customer(messages: list[ChatMessage]) -> None:
    turns = alternating(messages)
    assert [turn.role for turn in turns] == [("user", "assistant")[place % 2] for place in range(len(turns))]
    assert all(turn.content.strip() for turn in turns)
    assert alternating(turns) == turns


@given(MESSAGES)
def test_what_the_customer_said_is_all_there_and_in_order(messages: list[ChatMessage]) -> None:
    text = "\n".join(turn.content for turn in alternating(messages) if turn.role == "user")
    place = 0
    for message in messages:
        if message.role == "user" and message.content.strip():
            found = text.find(message.content, max(place - len(message.content), 0))
            assert found >= 0
            place = found + len(message.content)


def test_a_second_try_is_one_question() -> None:
    again = [said("user", "Returns?"), said("assistant", ""), said("user", "Returns?"), said("user", "Of a lamp.")]
    assert alternating(again) == (said("user", "Returns?\nOf a lamp."),)


async def test_the_model_and_the_record_get_the_same_turns(tmp_path: Path) -> None:
    world = World(tmp_path).with_shop()
    await world.start()
    messages = (
        said("assistant", "Hello, how can I help?"),
        said("user", "I bought a lamp"),
        said("user", "and my number is"),
        said("user", "13800138000"),
        said("assistant", " "),
        said("user", "How many days to return electronics?"),
    )
    fact = (await world.parts.answerer.answer(Question(messages=messages, sampling=SAMPLING, conversation_id="talk-1"))).event
    assert [message.role for message in fact.messages] == ["system", "user"]
    assert fact.messages == world.model.asked[0][1]
    assert fact.question == fact.messages[-1].content
    assert "13800138000" not in fact.question
    assert fact.question.endswith("How many days to return electronics?")
    await world.parts.stop()


async def test_a_message_that_was_too_long_does_not_end_the_conversation(tmp_path: Path) -> None:
    world = World(tmp_path).with_shop()
    await world.start()
    messages = (said("user", "word " * 4000), said("user", "How many days to return electronics?"))
    fact = (await world.parts.answerer.answer(Question(messages=messages, sampling=SAMPLING, conversation_id="talk-1"))).event
    assert fact.question == "How many days to return electronics?"
    await world.parts.stop()
