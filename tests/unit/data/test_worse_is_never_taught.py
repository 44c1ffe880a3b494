"""Whatever layout a file has: no answer that it calls worse is chosen, and none stands alone as one that should be given."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.errors import PermanentError
from tests.unit.data.preference_rows import ASKED, imported_rows, turns

ANSWERS = ["You have 14 days.", "You have 5 days.", "You have no days at all.", "Ask somebody else, please."]
Preference = tuple[dict[str, Any], list[str]]
"""A row, and the answers that it calls worse than another one."""


@st.composite
def side_by_side(draw: st.DrawFn) -> Preference:
    first, second = draw(st.permutations(ANSWERS))[:2]
    tags = draw(st.sampled_from([("a", "b"), ("0", "1"), ("1", "2")]))
    column = draw(st.sampled_from(["response_{}", "Answer {}", "output{}", "answer-{}", "model_{}_response", "conversation_{}"]))
    verdict = draw(st.sampled_from(["winner", "Preference", "betterResponseId", "better-answer", "label", "chosen", "Choice", "preferred"]))
    said = draw(
        st.sampled_from(["{}", "model_{}", "Response {}", "[[{}]]", "{} is better", "tie", "tie (bothbad)", "{}>{}", "text", "unsure", ""])
    )
    better = draw(st.integers(0, 1))
    texts = [turns(ASKED, text) if column.startswith("conv") else text for text in (first, second)]
    cell = (first, second)[better] if said == "text" else said.format(tags[better], tags[1 - better])
    row = {"prompt": ASKED, **{column.format(tag): text for tag, text in zip(tags, texts, strict=True)}, verdict: cell}
    certain = said not in {"tie", "tie (bothbad)", "unsure", ""}
    return row, [(first, second)[1 - better]] if certain else [first, second]


@st.composite
def signed(draw: st.DrawFn) -> Preference:
    first, second = draw(st.permutations(ANSWERS))[:2]
    number = draw(st.integers(-3, 3))
    column = draw(st.sampled_from(["overall_preference", "Overall Preference", "preferenceStrength"]))
    row = {"context": turns(ASKED), "response1": first, "response2": second, column: number}
    return row, [first] if number > 0 else [second] if number < 0 else [first, second]


@st.composite
def scored(draw: st.DrawFn) -> Preference:
    answers = draw(st.permutations(ANSWERS))[: draw(st.integers(2, 4))]
    scores = draw(st.lists(st.integers(1, 5), min_size=len(answers), max_size=len(answers)))
    layout = draw(st.sampled_from(["scores", "ranks", "objects", "columns", "spelled", "rated"]))
    row: dict[str, Any] = {
        "scores": {"responses": answers, "scores": scores},
        "ranks": {"completions": answers, "ranks": [6 - score for score in scores]},
        "objects": {"completions": [{"response": text, "overall_score": score} for text, score in zip(answers, scores, strict=True)]},
        "columns": {f"answer_{n}": text for n, text in enumerate(answers, 1)} | {f"score_{n}": score for n, score in enumerate(scores, 1)},
        "spelled": {"responses": str(answers), "ratings": str(scores)},
        "rated": {f"response{n}": text for n, text in enumerate(answers, 1)}
        | {f"rating_{n}": [{"user_id": "u", "value": score, "status": "submitted"}] for n, score in enumerate(scores, 1)},
    }[layout]
    worse = [text for text, score in zip(answers, scores, strict=True) if score < max(scores)]
    return {"prompt": ASKED} | row, worse or answers


@st.composite
def annotated(draw: st.DrawFn) -> Preference:
    answers = draw(st.permutations(ANSWERS))[:3]
    orders = draw(st.lists(st.permutations([0, 1, 2]), min_size=1, max_size=3))
    states = draw(st.lists(st.sampled_from(["submitted", "draft", "discarded"]), min_size=len(orders), max_size=len(orders)))
    layout = draw(st.sampled_from(["table 1", "table 2", "record 1", "record 2"]))
    names = [[f"response-{place + 1}" for place in order] for order in orders]
    ranked = [[{"rank": rank, "value": name} for rank, name in enumerate(each, 1)] for each in names]
    fields = {"prompt": ASKED} | {f"response-{n}": text for n, text in enumerate(answers, 1)}
    each = list(zip(states, names, ranked, strict=True))
    row: dict[str, Any] = {
        "table 1": fields | {"order": [{"user_id": "u", "value": ranks, "status": state} for state, _, ranks in each]},
        "table 2": fields | {"order.responses": names, "order.responses.status": states},
        "record 1": {"fields": fields, "responses": [{"status": state, "values": {"order": {"value": ranks}}} for state, _, ranks in each]},
        "record 2": {"fields": fields, "responses": {"order": [{"value": order, "status": state} for state, order, _ in each]}},
    }[layout]
    best = {order[0] for order, state in zip(orders, states, strict=True) if state == "submitted"}
    return row, [text for place, text in enumerate(answers) if {place} != best]


@st.composite
def conversations(draw: st.DrawFn) -> Preference:
    better, worse, *later = draw(st.permutations(ANSWERS))
    good, bad = turns(ASKED, better, "And shoes?", later[0]), turns(ASKED, worse, draw(st.sampled_from(["And shoes?", "Why?"])), later[1])
    whole = draw(st.booleans())
    texts = [
        "".join(f"\n\n{'Human' if turn['role'] == 'user' else 'Assistant'}: {turn['content']}" for turn in said) for said in (good, bad)
    ]
    values = texts if whole else [good, bad]
    shape = draw(st.sampled_from(["pair", "arena"]))
    if shape == "arena":
        return {"conversation_a": good, "conversation_b": bad, "winner": "model_a"}, [worse, *later]
    return {"chosen": values[0], "rejected": values[1]}, [worse, *later]


@pytest.mark.parametrize("preferences", [side_by_side(), signed(), scored(), annotated(), conversations()], ids=str)
@given(data=st.data())
def test_no_answer_that_a_file_calls_worse_is_chosen_or_shown(preferences: st.SearchStrategy[Preference], data: st.DataObject) -> None:
    row, worse = data.draw(preferences)
    try:
        found, _, tally = imported_rows(row)
    except PermanentError:
        # As a whole file: no row has an answer that is known to be the better one.
        return
    assert not {example.answer for example in found} & set(worse)
    assert all(example.rejected is not None for example in found)
    assert sum(tally.row_verdicts.values()) == 1


def numbered(first: str, second: str, tags: tuple[str, str], number: int) -> dict[str, Any]:
    return {"prompt": ASKED, f"answer_{tags[0]}": first, f"answer_{tags[1]}": second, "preference": number}


@given(
    count_from=st.sampled_from([0, 1]), tags=st.sampled_from([("0", "1"), ("1", "2"), ("a", "b")]),
    better=st.lists(st.integers(0, 1), min_size=2, max_size=6),
)  # fmt: skip
def test_a_number_that_counts_from_elsewhere_never_turns_a_pair_round(count_from: int, tags: tuple[str, str], better: list[int]) -> None:
    """Where both of two numbers occur in a column, it is certain from where they count."""
    sides = [*better, 0, 1]
    rows = [numbered(f"The better one of {n}.", f"The worse one of {n}.", tags, count_from) if side == 0
            else numbered(f"The worse one of {n}.", f"The better one of {n}.", tags, count_from + 1) for n, side in enumerate(sides)]  # fmt: skip
    found, heard, _ = imported_rows(*rows)
    assert all("better" in example.answer for example in found)
    assert len(found) + len(heard) == len(rows)
    assert bool(found) == (tags[0] == str(count_from))
