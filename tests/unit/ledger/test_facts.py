"""Events as columns."""

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from csqa_loop import events as e
from csqa_loop.events.wire import decode
from csqa_loop.ledger.facts import lay_out
from tests import events as make

MESSAGES = TypeAdapter(tuple[e.ChatMessage, ...])
CITATIONS = TypeAdapter(tuple[e.Citation, ...])
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
SCORE = st.floats(allow_nan=False, allow_infinity=False)


@given(said=st.lists(TEXT, min_size=1, max_size=3), section=TEXT, score=SCORE)
def test_structure_is_kept_as_events_write_it(said: list[str], section: str, score: float) -> None:
    messages = tuple(e.ChatMessage(role="user", content=text) for text in said)
    quotes = (e.Citation(chunk_id="returns#0", policy_id="returns", version="0" * 12, section=section, score=score),)
    sampling = e.Sampling(temperature=score, top_p=1.0, max_tokens=7)
    answer = make.answer(1, messages=messages, citations=quotes, sampling=sampling)
    (row,) = lay_out(make.batch(answer)).tables["answers"].to_pylist()
    assert row["messages"] == MESSAGES.dump_json(messages).decode()
    assert row["citations"] == CITATIONS.dump_json(quotes).decode()
    assert row["sampling"] == sampling.model_dump_json()


def test_a_record_of_ours_becomes_the_row_of_its_event() -> None:
    event = make.answer(2)
    assert (
        lay_out(make.batch(decode(event.topic, event.to_json()), first_offset=0)).tables
        == lay_out(make.batch(event, first_offset=0)).tables
    )
