"""The paired bootstrap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.gate.rules.resampling import difference_interval

values = st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.integers(0, 9)), min_size=1, max_size=40)


def test_bounds_agree_with_the_normal_approximation() -> None:
    random = np.random.default_rng(7)
    champion = random.normal(0.0, 1.0, 400)
    candidate = champion + random.normal(0.3, 0.5, 400)
    difference = candidate - champion
    half = 1.96 * difference.std() / np.sqrt(400)
    found = difference_interval(list(champion), list(candidate), range(400), level=0.95)
    assert found.lower == pytest.approx(difference.mean() - half, abs=0.01)
    assert found.upper == pytest.approx(difference.mean() + half, abs=0.01)


def test_items_of_one_cluster_are_drawn_together() -> None:
    random = np.random.default_rng(7)
    effects = random.normal(0.1, 1.0, 50).repeat(4)
    clusters = list(np.arange(50).repeat(4))
    apart = difference_interval([0.0] * 200, list(effects), range(200), level=0.95)
    together = difference_interval([0.0] * 200, list(effects), clusters, level=0.95)
    assert together.upper - together.lower == pytest.approx(2 * (apart.upper - apart.lower), rel=0.15)


def test_nine_in_ten_intervals_of_ninety_per_cent_hold_the_truth() -> None:
    random = np.random.default_rng(7)
    held = 0
    for _ in range(400):
        found = difference_interval([0.0] * 60, list(random.normal(0.2, 1.0, 60)), range(60), level=0.90)
        held += found.lower <= 0.2 <= found.upper
    # Percentile intervals of 60 values are a little too narrow: 0.89 of them hold the truth. Three standard errors are 0.05.
    assert held / 400 == pytest.approx(0.89, abs=0.05)


@given(values)
def test_bounds_lie_in_order_and_within_the_clusters_means(rows: list[tuple[float, float, int]]) -> None:
    champion, candidate, clusters = (list(column) for column in zip(*rows, strict=True))
    found = difference_interval(champion, candidate, clusters, level=0.95)
    groups = {number: [b - a for a, b, c in rows if c == number] for number in clusters}
    means = [sum(group) / len(group) for group in groups.values()]
    assert min(means) - 1e-9 <= found.lower <= found.upper <= max(means) + 1e-9
    assert found == difference_interval(champion, candidate, clusters, level=0.95)


def test_what_does_not_pair_up_is_refused() -> None:
    with pytest.raises(ValueError, match="need the same number"):
        difference_interval([1.0], [1.0, 2.0], ["a"], level=0.95)
    with pytest.raises(ValueError, match="at least one"):
        difference_interval([], [], [], level=0.95)
