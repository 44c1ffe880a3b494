"""No worse, and better: margins on shares, and bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.events import GateCheck
from csqa_loop.gate.rules.comparing import no_worse, share_check

outcomes = st.lists(st.booleans(), min_size=1, max_size=60)


def about(results) -> list[str]:
    """Each result is about a question of its own."""
    return [f"q{number}" for number in range(len(results))]


def compared(n: int, *, gained: int, lost: int, right: int, margin: float = 0.10, superiority: bool = False) -> GateCheck:
    """`right` of n are right with both, `gained` and `lost` changed."""
    champion = [True] * (right + lost) + [False] * (n - right - lost)
    candidate = [True] * right + [False] * lost + [True] * gained + [False] * (n - right - lost - gained)
    return share_check("questions", champion, candidate, margin, "questions", about(champion), superiority=superiority)


def test_one_item_of_a_few_is_no_evidence() -> None:
    check = compared(3, gained=0, lost=1, right=2)
    assert check.passed
    assert check.margin == pytest.approx(1 / 3)
    assert not compared(3, gained=0, lost=2, right=1).passed


def test_with_enough_questions_the_bound_decides_and_not_the_mean() -> None:
    """0.54 to 0.46 is a fall of less than 0.10, and could as well be one of 0.30."""
    check = compared(24, gained=6, lost=8, right=5)
    assert (check.champion, check.candidate) == (pytest.approx(0.54, abs=0.005), pytest.approx(0.46, abs=0.005))
    assert not check.passed
    assert check.floor is not None
    assert check.floor < -0.25
    assert "not shown to be no worse: it may be 0.333 lower (95 %), and 0.1 is allowed" in check.detail


def test_the_same_fall_on_many_questions_is_shown_to_be_small() -> None:
    check = compared(200, gained=6, lost=16, right=89)
    assert check.passed
    assert check.floor is not None
    assert -0.10 <= check.floor < -0.05


def test_a_candidate_that_is_not_lower_passes_though_few_questions_cannot_show_it() -> None:
    check = compared(24, gained=5, lost=5, right=7)
    assert check.floor is not None
    assert check.floor < -0.10
    assert check.passed
    assert "too few questions to show that it is not, but it is not lower by anything that counts" in check.detail
    assert compared(24, gained=4, lost=5, right=7).passed
    assert not compared(24, gained=4, lost=6, right=7).passed


def test_a_gain_that_is_beyond_chance_has_both_bounds_above_zero() -> None:
    check = compared(42, gained=12, lost=0, right=10, superiority=True)
    assert check.passed
    assert check.floor is not None
    assert check.lower is not None
    assert 0 < check.lower < check.floor


def test_where_superiority_is_not_judged_its_bounds_are_left_out() -> None:
    check = compared(42, gained=12, lost=0, right=10)
    assert (check.lower, check.upper) == (None, None)
    assert check.floor is not None


def test_values_that_weigh_more_count_more() -> None:
    champion, candidate = [0.0] * 40, [-1.0] * 4 + [0.0] * 36
    check = GateCheck(name="nats", passed=True, n=40)
    light = no_worse(check, champion, candidate, about(champion), margin=0.5, few=9.0, weights=[1.0] * 40)
    heavy = no_worse(check, champion, candidate, about(champion), margin=0.5, few=9.0, weights=[100.0] * 4 + [1.0] * 36)
    assert light.passed
    assert not heavy.passed


def test_both_must_be_judged_on_the_same() -> None:
    with pytest.raises(ValueError, match="both must be on the same"):
        share_check("questions", [True], [True, False], 0.1, "questions", ["q"])


def test_how_often_the_gate_errs_at_the_margin_and_at_equality() -> None:
    """What docs/decisions/0014 says: worse by the margin passes once in ten, and as good nine times in ten, where the questions are enough."""
    import random

    def passes(n: int, fall: float, churn: float) -> float:
        drawn = random.Random(n)
        passed = 0
        for _ in range(50):
            changes = drawn.choices(("lost", "gained", "same"), ((churn + fall) / 2, (churn - fall) / 2, 1 - churn), k=n)
            lost, gained = changes.count("lost"), changes.count("gained")
            passed += compared(n, gained=gained, lost=lost, right=(n - lost - gained) // 2).passed
        return passed / 50

    assert passes(120, 0.10, 0.15) <= 0.14
    assert passes(30, 0.10, 0.20) <= 0.30
    assert passes(120, 0.0, 0.15) >= 0.85
    assert passes(30, 0.0, 0.20) >= 0.60


@given(outcomes, st.floats(0, 1))
def test_a_candidate_like_the_champion_always_passes(results: list[bool], margin: float) -> None:
    assert share_check("questions", results, results, margin, "questions", about(results)).passed


@given(outcomes, st.integers(0, 59), st.floats(0, 1))
def test_one_lost_answer_alone_never_fails(results: list[bool], index: int, margin: float) -> None:
    worse = list(results)
    worse[index % len(results)] = False
    assert share_check("questions", results, worse, margin, "questions", about(results)).passed


@given(outcomes, st.integers(0, 59), st.floats(0, 1))
def test_getting_one_more_right_never_turns_a_pass_into_a_failure(results: list[bool], index: int, margin: float) -> None:
    champion = [True] * len(results)
    better = list(results)
    better[index % len(results)] = True
    if share_check("questions", champion, results, margin, "questions", about(results)).passed:
        assert share_check("questions", champion, better, margin, "questions", about(results)).passed
