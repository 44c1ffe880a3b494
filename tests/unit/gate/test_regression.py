"""The regression suite's checks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.events import GateCheck
from csqa_loop.evidence.rules.grading import Grade, Probe
from csqa_loop.gate.rules.regression import Graded, categories, over_all, regression_checks
from csqa_loop.training.run.files import Scores

RIGHT, SILENT, FALSE = Grade(expected=True, forbidden=False), Grade(expected=False, forbidden=False), Grade(expected=False, forbidden=True)
grades = st.sampled_from([RIGHT, SILENT, FALSE, Grade(expected=True, forbidden=True)])


def graded(number: int, champion: Grade, candidate: Grade, *, policy: str = "returns.md", category: str = "", zero: bool = False) -> Graded:
    probe = Probe(id=f"q{number}", policy=policy, ask=("How long?",), expect=("14 days",), category=category, zero_tolerance=zero)
    return Graded(probe, champion, candidate)


def checks(results: list[Graded], margin: float = 0.1) -> dict[str, GateCheck]:
    return {check.name: check for check in regression_checks(results, margin)}


def test_without_questions_every_check_says_so() -> None:
    for check in checks([]).values():
        assert check.passed
        assert check.detail == "no data"


def test_one_lost_zero_tolerance_question_fails_whatever_the_margin() -> None:
    results = [graded(number, RIGHT, RIGHT, zero=True) for number in range(30)] + [graded(99, RIGHT, SILENT, zero=True)]
    failed = [check for check in checks(results, margin=1.0).values() if not check.passed]
    assert [check.name for check in failed] == ["zero-tolerance questions"]
    assert failed[0].detail == "lost: q99"
    assert failed[0].n == 31


def test_a_zero_tolerance_question_that_the_champion_gets_wrong_asks_nothing_of_the_candidate() -> None:
    found = checks([graded(1, SILENT, SILENT, zero=True), graded(2, RIGHT, RIGHT)])["zero-tolerance questions"]
    assert found.passed
    assert found.detail == "no data"


def test_lost_is_what_was_right_before() -> None:
    sides = {"kept": (RIGHT, RIGHT), "lost": (RIGHT, FALSE), "gained": (SILENT, RIGHT), "never": (SILENT, FALSE)}
    assert [name for name, (before, after) in sides.items() if graded(1, before, after).lost] == ["lost"]


def test_a_category_that_falls_is_named_though_the_whole_holds() -> None:
    results = [graded(number, SILENT, RIGHT, policy="delivery.md") for number in range(20)]
    results += [graded(number, RIGHT, RIGHT if number < 28 else SILENT, category="Returns") for number in range(20, 30)] + [
        graded(number, RIGHT, SILENT, policy="gifts.md") for number in range(30, 32)
    ]
    found = checks(results)
    assert found["regression questions"].passed
    assert not found["regression categories"].passed
    assert found["regression categories"].detail == (
        "fallen: Returns from 1.00 to 0.80 (10 answers), gifts.md from 1.00 to 0.00 (2 answers, too few to decide)"
    )


def test_a_small_category_alone_fails_nothing() -> None:
    results = [graded(number, RIGHT, SILENT if number < 2 else RIGHT, policy="a.md" if number < 3 else "b.md") for number in range(60)]
    found = checks(results)["regression categories"]
    assert found.passed
    assert "a.md from 1.00 to 0.33 (3 answers, too few to decide)" in found.detail


def test_many_phrasings_of_one_question_are_one_question() -> None:
    assert checks([graded(1, SILENT, RIGHT)] * 50)["regression questions"].lower is None
    found = checks([graded(number, SILENT, RIGHT) for number in range(20)])["regression questions"]
    assert found.lower == 1.0


def test_f1_tells_what_is_said_wrongly_from_what_is_not_said() -> None:
    assert Scores.of([RIGHT, RIGHT]) == Scores(1.0, 1.0, 1.0, 1.0)
    assert Scores.of([RIGHT, SILENT]) == Scores(0.5, 1.0, 0.5, pytest.approx(2 / 3))
    assert Scores.of([RIGHT, FALSE]) == Scores(0.5, 0.5, 0.5, pytest.approx(0.5))
    assert Scores.of([SILENT]) == Scores(0.0, 0.0, 0.0, 0.0)


def test_every_category_has_its_scores_and_the_mean_counts_each_once() -> None:
    results = [graded(number, SILENT, RIGHT, policy="delivery.md") for number in range(3)]
    results += [graded(9, RIGHT, FALSE, category="Returns")]
    returns, delivery = categories(results)
    assert (returns.name, returns.answers, delivery.name, delivery.answers) == ("Returns", 1, "delivery.md", 3)
    assert delivery.champion.recall == 0.0
    assert delivery.candidate == Scores(1.0, 1.0, 1.0, 1.0)
    mean = over_all((returns, delivery))
    assert (mean.answers, mean.champion.accuracy, mean.candidate.f1) == (4, 0.5, 0.5)
    check = checks(results)["regression macro F1"]
    assert (check.champion, check.candidate) == (0.5, 0.5)
    assert "changed: Returns from 1.00 to 0.00, delivery.md from 0.00 to 1.00" in check.detail


@given(st.lists(grades, min_size=1, max_size=30))
def test_scores_are_shares_and_one_exactly_when_all_is_right(found: list[Grade]) -> None:
    scores = Scores.of(found)
    assert all(0.0 <= share <= 1.0 for share in (scores.accuracy, scores.precision, scores.recall, scores.f1))
    assert (scores.f1 == 1.0) == all(grade.right for grade in found)
