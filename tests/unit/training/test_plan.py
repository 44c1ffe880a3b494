"""Which method a run uses, and which demonstrations it sees."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.training.rules.plan import PlanPolicy, Supply, mixed, plan, unmet

POLICY = PlanPolicy(min_pairs=20, min_rated=100, min_demonstrations=100)
NOTHING = Supply(pairs=0, liked=0, disliked=0, demonstrations=0, champion_is_base=True)


@pytest.mark.parametrize(
    ("supply", "method"),
    [
        (Supply(30, 500, 500, 100, champion_is_base=True), "sft"),
        (Supply(30, 500, 500, 100, champion_is_base=False), "dpo"),
        (Supply(20, 500, 500, 99, champion_is_base=True), "dpo"),
        (Supply(19, 100, 100, 0, champion_is_base=True), "kto"),
        (Supply(19, 100, 99, 99, champion_is_base=True), None),
        (Supply(19, 100, 99, 500, champion_is_base=False), None),
        (NOTHING, None),
    ],
)
def test_what_there_is_decides(supply: Supply, method: str | None) -> None:
    found = plan("auto", supply, POLICY)
    assert (found.method if found else None) == method


def test_the_reason_tells_the_counts() -> None:
    found = plan("auto", Supply(3, 120, 150, 0, champion_is_base=False), POLICY)
    assert found is not None
    assert found.reason == "3 pairs are too few, but 120 liked and 150 disliked answers are enough"


@pytest.mark.parametrize(
    ("asked", "supply", "possible"),
    [
        ("dpo", Supply(1, 0, 0, 0, champion_is_base=True), True),
        ("dpo", Supply(0, 9, 9, 9, champion_is_base=True), False),
        ("kto", Supply(0, 1, 1, 0, champion_is_base=True), True),
        ("kto", Supply(1, 0, 0, 0, champion_is_base=True), True),
        ("kto", Supply(0, 9, 0, 9, champion_is_base=True), False),
        ("sft", Supply(0, 0, 0, 1, champion_is_base=False), True),
        ("sft", Supply(9, 9, 9, 0, champion_is_base=True), False),
    ],
)
def test_what_is_asked_for_is_run_where_there_is_anything_to_run_it_on(asked, supply: Supply, possible: bool) -> None:
    found = plan(asked, supply, POLICY)
    assert (found is not None) == possible
    assert found is None or found.method == asked


def test_the_mix_is_as_large_as_its_scarcest_category_allows() -> None:
    categories = ["knowledge"] * 120 + ["dialogue"] * 30 + ["exceptions"] * 50 + ["small talk"] * 10
    kept = mixed(range(len(categories)), categories, {"knowledge": 0.6, "dialogue": 0.3, "exceptions": 0.1}, seed=0)
    assert Counter(categories[place] for place in kept) == {"knowledge": 60, "dialogue": 30, "exceptions": 10}
    assert kept == sorted(kept)
    assert kept == mixed(range(len(categories)), categories, {"knowledge": 0.6, "dialogue": 0.3, "exceptions": 0.1}, seed=0)
    assert kept != mixed(range(len(categories)), categories, {"knowledge": 0.6, "dialogue": 0.3, "exceptions": 0.1}, seed=1)


def test_the_share_of_a_category_without_rows_goes_to_the_others() -> None:
    shares = {"a": 0.3, "b": 0.2, "c": 0.5}
    assert Counter(mixed("aaab", "aaab", shares, seed=0)) == {"a": 1, "b": 1}
    assert mixed([1, 2], ["a", "a"], shares, seed=0) == [1, 2]
    assert (unmet("aaab", shares), unmet("abc", shares)) == (("c",), ())


def test_no_category_of_the_mix_leaves_nothing_and_no_mix_leaves_all() -> None:
    assert mixed([1, 2], ["z", "z"], {"a": 0.5, "b": 0.5}, seed=0) == []
    assert mixed([1, 2], ["a", "b"], {}, seed=0) == [1, 2]


@given(st.lists(st.sampled_from("abcd"), max_size=60), st.integers(0, 5))
def test_the_shares_hold_to_a_row(categories: list[str], seed: int) -> None:
    shares = {"a": 0.5, "b": 0.3, "c": 0.2}
    counts = Counter(categories[place] for place in mixed(range(len(categories)), categories, shares, seed))
    total = sum(counts.values())
    there = sum(share for name, share in shares.items() if name in categories)
    assert counts["d"] == 0
    for name, share in shares.items():
        assert abs(counts[name] - (share / there * total if name in categories else 0)) <= 2
        assert counts[name] <= categories.count(name)
