"""Splits are seeded, keep a question on one side and a category's share."""

from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.domain.data.split import side_of, stratified
from csqa_loop.domain.text import normalised

_QUESTIONS = st.lists(
    st.tuples(st.sampled_from(["How long?", "how long", "Why?", "why", "A", "a!", *map(str, range(30))]), st.sampled_from("xyz"))
)


@given(_QUESTIONS, st.floats(0, 1), st.integers(0, 9))
def test_one_question_goes_to_one_side_and_a_seed_decides(rows: list[tuple[str, str]], share: float, seed: int) -> None:
    questions, strata = [row[0] for row in rows], [row[1] for row in rows]
    sides = stratified(questions, strata, share, seed)
    assert sides == stratified(questions, strata, share, seed)
    by_question: dict[str, set[str]] = {}
    for question, side in zip(questions, sides, strict=True):
        by_question.setdefault(normalised(question), set()).add(side)
        by_question[normalised(question)].add(side)
    assert all(len(found) == 1 for found in by_question.values())
    if share == 0:
        assert "holdout" not in sides
    if share == 1:
        assert "train" not in sides


@given(st.integers(0, 50), st.sampled_from([0.1, 0.25, 0.5]))
def test_every_category_gives_its_share(seed: int, share: float) -> None:
    rows = [(f"question {category} {number}", category) for category, count in (("a", 400), ("b", 40), ("c", 8)) for number in range(count)]
    sides = stratified([row[0] for row in rows], [row[1] for row in rows], share, seed)
    for category, count in (("a", 400), ("b", 40), ("c", 8)):
        held = sum(side == "holdout" for side, row in zip(sides, rows, strict=True) if row[1] == category)
        assert abs(held - share * count) <= 1


def test_two_spellings_in_two_categories_stay_together() -> None:
    spellings = ("How long?", "how long", "HOW LONG", "How  long!")
    for seed in range(20):
        assert len(set(stratified(spellings, "abcd", 0.5, seed))) == 1


def test_small_categories_together_hold_out_their_share() -> None:
    questions = [f"question {number}" for number in range(100)]
    sides = stratified(questions, list(range(100)), 0.1, seed=3)
    assert sides.count("holdout") == 10


def test_one_by_one_the_share_holds_on_average() -> None:
    sides = [side_of(f"question {number}", 0.9, seed=1) for number in range(4000)]
    assert 0.88 < sides.count("train") / 4000 < 0.92
    assert side_of("How long?", 0.5, 7) == side_of("how long", 0.5, 7)
