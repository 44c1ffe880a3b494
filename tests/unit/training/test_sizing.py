"""What `auto` means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.training.rules import sizing


@pytest.mark.parametrize(
    ("examples", "limit", "rank"), [(1, 64, 8), (999, 64, 8), (1_000, 64, 16), (10_000, 64, 32), (10_000, 16, 16), (5, 4, 4)]
)
def test_more_examples_allow_a_larger_rank(examples: int, limit: int, rank: int) -> None:
    assert sizing.rank(examples, limit) == rank


def test_the_update_is_scaled_alike_whatever_the_rank() -> None:
    assert [sizing.alpha(rank, rslora=False) / rank for rank in (4, 8, 16)] == [4, 4, 4]
    assert [sizing.alpha(rank, rslora=True) / rank**0.5 for rank in (4, 16)] == [4, 4]


def test_a_base_that_fills_the_memory_is_trained_in_its_attention() -> None:
    names = {*sizing.ATTENTION, "up_proj"}
    assert sizing.target_modules(40, 100, names) == "all-linear"
    assert sizing.target_modules(60, 100, names) == sizing.ATTENTION
    assert sizing.target_modules(60, 100, {"c_attn"}) == "all-linear"


def test_the_length_follows_the_longest_example() -> None:
    assert sizing.max_length([10, 65], 2048) == 128
    assert sizing.max_length([10, 2040], 2048) == 2048
    assert [sizing.quantile([1, 2, 3, 4], q) for q in (0.0, 0.5, 0.95, 1.0)] == [1, 2, 4, 4]


@given(st.lists(st.integers(1, 99), max_size=40), st.integers(1, 8), st.randoms(use_true_random=False))
def test_every_example_is_in_one_batch_of_its_like(lengths: list[int], batch: int, random) -> None:
    shuffled = random.sample(range(len(lengths)), len(lengths))
    order = sizing.batches_of_equals(lengths, batch, shuffled)
    assert sorted(order) == list(range(len(lengths)))
    batches = [[lengths[place] for place in order[start : start + batch]] for start in range(0, len(order), batch)]
    if batches:
        assert max(batches[0]) == max(lengths)
    # No two batches overlap: each is all at least as long as any other, or all at most.
    for one in batches:
        for other in batches:
            assert one is other or min(one) >= max(other) or max(one) <= min(other)
