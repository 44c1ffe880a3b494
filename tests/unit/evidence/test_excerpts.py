"""The passages of a prompt, as they went in."""

from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.answering.rules.prompt import build_messages
from csqa_loop.events import ChatMessage
from csqa_loop.evidence.rules.excerpts import excerpts_in

_BODY = st.text("abc 45,.\n", min_size=1, max_size=80).map(str.strip).filter(bool)


def prompt(*excerpts: str, question: str = "How long?") -> str:
    return build_messages([ChatMessage(role="user", content=question)], excerpts)[0].content


@given(st.lists(_BODY, min_size=1, max_size=5), st.sampled_from(["How long?", "多久？"]))
def test_what_was_put_in_comes_out(bodies: list[str], question: str) -> None:
    sections = [f"Returns > Section {number}" for number in range(len(bodies))]
    excerpts = [f"{section}\n{body}" for section, body in zip(sections, bodies, strict=True)]
    assert excerpts_in(prompt(*excerpts, question=question), sections) == tuple(excerpts)


def test_a_heading_may_be_shown_without_its_outer_part() -> None:
    excerpts = ("Footwear\n45 days.", "Returns > Furniture\n14 days.")
    assert excerpts_in(prompt(*excerpts), ["Returns of everything > Footwear", "Returns > Furniture"]) == excerpts


def test_two_pieces_of_one_section() -> None:
    excerpts = ("Returns\nfirst\n\nmore of it", "Returns\nsecond")
    assert excerpts_in(prompt(*excerpts), ["Returns", "Returns"]) == excerpts


def test_it_does_not_guess() -> None:
    assert excerpts_in("You are helpful.", ["Returns"]) is None
    assert excerpts_in(prompt("Returns\n14 days.", "no heading at all"), ["Returns", "Other"]) is None
    assert excerpts_in(prompt(), []) is None
