"""Margins on shares, and bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.domain.comparing import share_check

outcomes = st.lists(st.booleans(), min_size=1, max_size=60)


def test_one_item_of_a_few_is_no_evidence() -> None:
    check = share_check("questions", [True, True, True], [True, True, False], 0.10, "questions")
    assert check.passed
    assert check.margin == pytest.approx(1 / 3)
    assert not share_check("questions", [True, True, True], [True, False, False], 0.10, "questions").passed


def test_both_must_be_judged_on_the_same() -> None:
    with pytest.raises(ValueError, match="both must be on the same"):
        share_check("questions", [True], [True, False], 0.1, "questions")


@given(outcomes, st.floats(0, 1))
def test_a_candidate_like_the_champion_always_passes(results: list[bool], margin: float) -> None:
    assert share_check("questions", results, results, margin, "questions").passed


@given(outcomes, st.integers(0, 59), st.floats(0, 1))
def test_getting_one_more_right_never_turns_a_pass_into_a_failure(results: list[bool], index: int, margin: float) -> None:
    champion = [True] * len(results)
    better = list(results)
    better[index % len(results)] = True
    if share_check("questions", champion, results, margin, "questions").passed:
        assert share_check("questions", champion, better, margin, "questions").passed
