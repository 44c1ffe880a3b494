"""Exports of Argilla 1 and 2: what annotators said of an answer is read, drafts are not, and what nobody can read is refused."""

from typing import Any

import pytest

from tests.unit.data.preference_rows import ASKED, BAD, GOOD, imported_rows, pairs

TWO = {"prompt": ASKED, "response1": BAD, "response2": GOOD}
ONE = {"prompt": ASKED, "response": BAD}
RIGHT = [{"rank": 1, "value": "response2"}, {"rank": 2, "value": "response1"}]
WRONG = [{"rank": 2, "value": "response2"}, {"rank": 1, "value": "response1"}]


def by(value: Any, status: str = "submitted") -> dict[str, Any]:
    return {"user_id": "u", "value": value, "status": status}


@pytest.mark.parametrize(
    "values",
    [
        TWO | {"ranking": [by(RIGHT)], "ranking-suggestion": WRONG, "ranking-suggestion-metadata": {"type": None, "score": None, "agent": None}},
        TWO | {"ranking": [by({"rank": [2, 1], "value": ["response1", "response2"]})]},
        TWO | {"ranking": {"user_id": ["u"], "value": [{"rank": [2, 1], "value": ["response1", "response2"]}], "status": ["submitted"]}},
        TWO | {"ranking": [by(WRONG, "discarded"), by(RIGHT)]},
        TWO | {"ranking": [by(WRONG, "draft")], "ranking-suggestion": RIGHT},
        TWO | {"ranking": [], "ranking-suggestion": {"rank": [1, 2], "value": ["response2", "response1"]}},
        TWO | {"order.responses": [["response2", "response1"]], "order.responses.users": ["u"], "order.responses.status": ["submitted"]},
        TWO | {"order.responses": [["response1", "response2"]], "order.responses.status": ["discarded"], "order.suggestion": ["response2", "response1"]},
        {"fields": TWO, "responses": [{"status": "discarded", "values": {"p": {"value": WRONG}}}, {"status": "submitted", "values": {"p": {"value": RIGHT}}}]},
        {"fields": TWO, "responses": {"order": [{"value": ["response2", "response1"]}] * 2}, "suggestions": {"order": {"value": ["response1", "response2"]}}},
        {"fields": TWO, "responses": {"order": [{"value": ["Response 2", "Response 1"]}]}},
        {"fields": TWO, "responses": {"order": [{"value": [{"rank": 1, "value": "reply-2"}, {"rank": 2, "value": "reply-1"}]}]}},
        TWO | {"preference": [by("response2")], "preference-suggestion": "response1"},
        {"fields": TWO, "responses": [{"status": "submitted", "values": {"choose-best": {"value": 2}}}]},
        TWO | {"rating_1": [by(2)], "rating_2": [by(5)]},
        {"fields": TWO, "responses": [{"values": {"response1_rating": {"value": 1}, "response2_rating": {"value": 4}}}]},
    ],
)  # fmt: skip
def test_rankings_choices_and_ratings_make_a_pair(values: dict[str, Any]) -> None:
    assert pairs(values) == [(GOOD, BAD)], imported_rows(values)[1]


@pytest.mark.parametrize(
    "values",
    [
        ONE | {"rating": [by(1)]},
        ONE | {"rating": [by(1), by(2)], "rating-suggestion": 5},
        ONE | {"rating": [by(5, "discarded")], "rating-suggestion": 1},
        ONE | {"rating.responses": [1, 2], "rating.responses.status": ["submitted", "submitted"], "rating.suggestion": 5},
        ONE | {"rating.responses": [5, 1], "rating.responses.status": ["draft", "submitted"]},
        {"fields": ONE, "responses": {"rating": [{"value": 1, "user_id": "u"}, {"value": 2, "user_id": "v"}]}},
        {"fields": ONE, "responses": [{"status": "submitted", "values": {"rating": {"value": 1}}}]},
    ],
)
def test_an_answer_that_annotators_rated_low_is_disliked(values: dict[str, Any]) -> None:
    assert [example.liked for example in imported_rows(values)[0]] == [False]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (ONE | {"rating": [by(1), by(5)]}, "contradict"),
        (ONE | {"rating": [by(1), by(3)], "is_good.responses": [True]}, "contradict"),
        ({"fields": ONE, "responses": [{"values": {"response_quality": {"value": 1}}}]}, "--columns liked=responses.response_quality"),
        (ONE | {"usefulness": [by(2), by(1)]}, "--columns liked=responses.usefulness"),
        (TWO | {"ranking": [by(RIGHT), by(WRONG)]}, "do not agree"),
        (TWO | {"ranking": [by([{"rank": 1, "value": "response1"}, {"rank": 1, "value": "response2"}])]}, "one rank"),
        (TWO | {"preference": [by("response1"), by("response2")]}, "do not agree"),
    ],
)
def test_what_annotators_leave_open_is_refused(values: dict[str, Any], says: str) -> None:
    found, (outcome,), _ = imported_rows(values)
    assert (found, outcome.verdict) == ([], "refused")
    assert says in outcome.reason


def test_a_rating_of_another_name_is_read_where_it_is_given() -> None:
    rows = [{"fields": ONE, "responses": [{"values": {"usefulness": {"value": 1}}}]}, {"fields": ONE | {"response": GOOD}, "responses": [{"values": {"usefulness": {"value": 5}}}]}]  # fmt: skip
    found, _, _ = imported_rows(*rows, columns={"liked": "responses.usefulness"})
    assert [(example.answer, example.liked) for example in found] == [(BAD, False), (GOOD, True)]


def test_a_column_that_a_person_names_keeps_its_name() -> None:
    found, _, _ = imported_rows({"q": ASKED, "our-suggestion": GOOD}, columns={"question": "q", "chosen": "our-suggestion"})
    assert [example.answer for example in found] == [GOOD]
    rows = [ONE | {"usefulness": [by(1)]}, ONE | {"response": GOOD, "usefulness": [by(5)]}]
    found, _, _ = imported_rows(*rows, columns={"liked": "usefulness"})
    assert [(example.answer, example.liked) for example in found] == [(BAD, False), (GOOD, True)]
