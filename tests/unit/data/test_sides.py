"""Which of two answers a cell names, in the words of many tools; a number by the numbers of its whole column."""

from typing import Any

import pytest

from tests.unit.data.preference_rows import ASKED, BAD, GOOD, WORST, imported_rows, pairs, turns

LETTERS = {"question": ASKED, "answer_a": GOOD, "answer_b": BAD}
FROM_1 = {"question": ASKED, "answer_1": GOOD, "answer_2": BAD}
FROM_0 = {"question": ASKED, "answer_0": GOOD, "answer_1": BAD}
OTHER = "And when it is broken?"


@pytest.mark.parametrize(
    "values",
    [
        *[LETTERS | {"winner": said} for said in ("a", "Answer A", "model_a", "Answer A is better", "[[A]]", "A>B", "A >> B", "B<A", "first", GOOD, ["a", "A"])],
        *[{"question": ASKED, "answer_a": BAD, "answer_b": GOOD, "Human Preference": said} for said in ("B", "B>A", "A<B", "A<<B", "second", "B is much better")],
        LETTERS | {"winner": "gpt", "model_a": "gpt", "model_b": "llama"},
        FROM_1 | {"label": "1"},
        FROM_0 | {"label": 0},
        {"question": ASKED, "answerA": GOOD, "answerB": BAD, "betterAnswer": "A"},
        {"context": turns(ASKED), "response1": BAD, "response2": GOOD, "overallPreference": 3},
        {"prompt": ASKED, "response_0": BAD, "response_1": GOOD, "safer_response_id": 1},
    ],
)  # fmt: skip
def test_the_named_answer_is_chosen(values: dict[str, Any]) -> None:
    assert pairs(values) == [(GOOD, BAD)], imported_rows(values)[1]


@pytest.mark.parametrize(
    "said", ["tie", "tie (bothbad)", "both_bad", "bothgood", "Both are good", "A=B", "neither", "draw", "equal", "no preference", "平局"]
)
def test_a_tie_makes_no_pair(said: str) -> None:
    found, (outcome,), tally = imported_rows(LETTERS | {"winner": said})
    assert (found, outcome.kind, tally.row_verdicts["refused"]) == ([], "neither", 1)


@pytest.mark.parametrize(
    ("values", "others", "taken"),
    [
        (FROM_1 | {"preference": 1}, [0], []),
        (FROM_1 | {"preference": 1}, [0, 2], [(GOOD, BAD)]),
        (FROM_1 | {"preference": 1}, [2], [(GOOD, BAD)]),
        (FROM_0 | {"preference": 1}, [2], []),
        (FROM_0 | {"preference": 0}, [1], [(GOOD, BAD)]),
        (FROM_1 | {"preference": 1}, [-3, 2], [(BAD, GOOD)]),
        (FROM_1 | {"preference": -1}, [3], [(GOOD, BAD)]),
        (LETTERS | {"preference": 1}, [2], []),
        (FROM_1 | {"preference": 1.5}, [2], []),
    ],
)
def test_a_number_is_read_by_the_numbers_of_its_column(values: dict[str, Any], others: list[int], taken: list[Any]) -> None:
    rest = [values | {"question": OTHER, "preference": number} for number in others]
    found, _, _ = imported_rows(values, *rest)
    assert [(example.answer, example.rejected) for example in found if example.question == ASKED] == taken


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"better_response_id": 1, "safer_response_id": 0}, "contradict"),
        ({"better_response_id": 1, "is_response_0_safe": True, "is_response_1_safe": False}, "not safe"),
        ({"better_response_id": 7}, "runs from 7 to 7"),
    ],
)
def test_an_answer_that_is_called_less_safe_is_not_taught(more: dict[str, Any], says: str) -> None:
    found, (outcome,), _ = imported_rows({"prompt": ASKED, "response_0": BAD, "response_1": GOOD} | more)
    assert found == []
    assert says in outcome.reason


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": ASKED, "chosen": GOOD, "rejected": f'["{BAD}", "{WORST}"]'},
        {"prompt": ASKED, "chosen": GOOD, "rejected_1": BAD, "Rejected 2": WORST},
        {"prompt": ASKED, "chosen": turns(ASKED, GOOD), "rejected": [turns(ASKED, BAD), turns(ASKED, WORST)]},
        {"prompt": ASKED, "responses": f'["{BAD}", "{GOOD}", "{WORST}"]', "scores": "[2, 5, 1]"},
        {"instruction": ASKED, "correct_answers": ["None"], "incorrect_answers": ["None"],
         "completions": [{"response": BAD, "overall_score": 5.0}, {"response": GOOD, "overall_score": 9.0}, {"response": WORST, "overall_score": 1}]},
        {"prompt": ASKED, "candidates": [{"content": BAD, "reward": -1}, {"content": GOOD, "reward": 2}, {"content": WORST, "reward": -3}]},
    ],
)  # fmt: skip
def test_the_best_is_paired_with_each_that_is_worse(values: dict[str, Any]) -> None:
    found, _, tally = imported_rows(values)
    assert sorted((example.answer, example.rejected) for example in found) == [(GOOD, BAD), (GOOD, WORST)]
    assert len({example.content_id for example in found}) == 2
    assert [example.content_id for example in found] == [example.content_id for example in imported_rows(values)[0]]
    assert tally.paired == 2


def test_a_conversation_with_an_empty_answer_is_no_answer() -> None:
    whole = f"\n\nHuman: {ASKED}\n\nAssistant: {GOOD}\n\nHuman: Shoes?\n\nAssistant: 8 days"
    found, (outcome,), _ = imported_rows(
        {"chosen": whole, "rejected": f"\n\nHuman: {ASKED}\n\nAssistant: \n\nHuman: Shoes?\n\nAssistant: 9 days"}
    )
    assert (found, outcome.kind) == ([], "empty")


@pytest.mark.parametrize(
    "values",
    [
        {"question": ASKED, "answer": BAD, "corrected_answer": GOOD},
        {"prompt": ASKED, "response": BAD, "Correction": GOOD},
        {"fields": {"prompt": ASKED, "response": BAD}, "responses": [{"status": "submitted", "values": {"corrected-response": {"value": GOOD}, "quality": {"value": 1}}}]},
        {"prompt": ASKED, "response": BAD, "corrected_response": [{"user_id": "u", "value": GOOD, "status": "submitted"}]},
    ],
)  # fmt: skip
def test_a_correction_is_better_than_what_it_corrects(values: dict[str, Any]) -> None:
    assert pairs(values) == [(GOOD, BAD)]


def test_a_correction_that_says_the_same_confirms_the_answer() -> None:
    assert pairs({"question": ASKED, "answer": GOOD, "corrected_answer": f"{GOOD} "}) == [(GOOD, None)]


@pytest.mark.parametrize(
    "more",
    [{"winner": "model_b"}, {"preference": 1}, {"rank": 3}, {"feedback": {"thumb": "down"}}, {"answer_a": GOOD, "better_answer_id": "b"}],
)
def test_an_answer_beside_a_mark_that_nobody_can_read_is_not_shown(more: dict[str, Any]) -> None:
    found, (outcome,), _ = imported_rows({"question": ASKED, "answer": BAD} | more)
    assert (found, outcome.kind) == ([], "label")
    assert "--columns liked=" in outcome.reason


@pytest.mark.parametrize("column", ["winner", "chosen", "preferred_answer", "Better"])
@pytest.mark.parametrize("said", ["model_a", "b", "tie", "Answer B is better"])
def test_the_name_of_an_answer_is_no_answer(column: str, said: str) -> None:
    row = {"question": ASKED, "left": BAD, "right": GOOD, column: said}
    found, _, _ = imported_rows(row, {"question": OTHER, "answer": GOOD})
    assert [example.question for example in found] == [OTHER]
