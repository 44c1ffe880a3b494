"""Splits are seeded, keep what belongs together on one side and a category's share."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from csqa_loop.data.rules.split import side_of, stratified
from csqa_loop.text.similarity import Protected

_TEXTS = (
    "How long may I keep the laptop?",
    "how long may I keep the laptop",
    "How long may I keep the laptops?",
    "Why?",
    "why",
    "A",
    "a!",
    "?",
)
_ROWS = st.lists(
    st.tuples(st.sampled_from([*_TEXTS, *map(str, range(10))]), st.sampled_from("xyz"), st.sampled_from(["", "", "Why?", "Who pays?"])),
    max_size=20,
)


def near_repeat(first: str, second: str) -> bool:
    return bool(Protected([second]).repeated_by([first]))


def unlike(name: str, count: int) -> list[str]:
    """Questions that do not resemble one another."""
    return [hashlib.sha256(f"{name}{number}".encode()).hexdigest()[:24] for number in range(count)]


@settings(deadline=None)
@given(_ROWS, st.floats(0, 1), st.integers(0, 9))
def test_what_belongs_together_goes_to_one_side_and_a_seed_decides(rows: list[tuple[str, str, str]], share: float, seed: int) -> None:
    questions, strata = [row[0] for row in rows], [row[1] for row in rows]
    origins = [row[2] or row[0] for row in rows]
    sides = stratified(questions, strata, share, seed, origins)
    assert sides == stratified(questions, strata, share, seed, origins)
    for one in range(len(rows)):
        for other in range(one):
            if near_repeat(questions[one], questions[other]) or near_repeat(origins[one], origins[other]):
                assert sides[one] == sides[other]
    if share == 0:
        assert "holdout" not in sides
    if share == 1:
        assert "train" not in sides


def test_near_repeats_stay_together_over_any_number_of_steps() -> None:
    text = "How many days do I have to send back the electronics that I bought in your shop"
    chain = [text[:length] + "?" for length in range(len(text), 30, -4)]
    assert not near_repeat(chain[0], chain[-1])
    for seed in range(20):
        assert len(set(stratified(chain, ["x"] * len(chain), 0.5, seed))) == 1


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 50), st.sampled_from([0.1, 0.25, 0.5]))
def test_every_category_gives_its_share(seed: int, share: float) -> None:
    rows = [(question, category) for category, count in (("a", 400), ("b", 40), ("c", 8)) for question in unlike(category, count)]
    sides = stratified([row[0] for row in rows], [row[1] for row in rows], share, seed)
    for category, count in (("a", 400), ("b", 40), ("c", 8)):
        held = sum(side == "holdout" for side, row in zip(sides, rows, strict=True) if row[1] == category)
        assert abs(held - share * count) <= 1


def test_two_spellings_in_two_categories_stay_together() -> None:
    spellings = ("How long?", "how long", "HOW LONG", "How  long!")
    for seed in range(20):
        assert len(set(stratified(spellings, "abcd", 0.5, seed))) == 1


def test_small_categories_together_hold_out_their_share() -> None:
    sides = stratified(unlike("x", 100), list(range(100)), 0.1, seed=3)
    assert sides.count("holdout") == 10


def test_one_by_one_the_share_holds_on_average() -> None:
    sides = [side_of(f"question {number}", 0.9, seed=1) for number in range(4000)]
    assert 0.88 < sides.count("train") / 4000 < 0.92
    assert side_of("How long?", 0.5, 7) == side_of("how long", 0.5, 7)
