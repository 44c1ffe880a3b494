"""Arms over a million users."""

import numpy as np
import pytest
from scipy import stats

from csqa_loop.answering.rules.arms import arm_of, bucket_of

SALTS = ("x-r1-1", "x-r2-1", "x-r2-2")


@pytest.fixture(scope="module")
def buckets() -> np.ndarray:
    """Shape (salts, users)."""
    users = [f"u-{number:016x}" for number in range(1_000_000)]
    return np.array([[bucket_of(salt, user) for user in users] for salt in SALTS])


def test_a_million_users_are_spread_evenly(buckets: np.ndarray):
    for of_one_salt in buckets:
        counts, _ = np.histogram(of_one_salt, bins=1000, range=(0, 1))
        assert stats.chisquare(counts).pvalue > 1e-4


def test_the_arms_of_two_experiments_know_nothing_of_each_other(buckets: np.ndarray):
    """In tenths, so that a dependence outside the arms' halves would show too."""
    tenths = (buckets * 10).astype(int)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        table = np.bincount(tenths[one] * 10 + tenths[other], minlength=100).reshape(10, 10)
        assert stats.chi2_contingency(table).pvalue > 1e-4


def test_nobody_leaves_an_arm_while_the_share_grows(buckets: np.ndarray):
    challenger = [buckets[0] < share / 2 for share in (0.1, 0.4, 1.0)]
    control = [buckets[0] >= 1 - share / 2 for share in (0.1, 0.4, 1.0)]
    for smaller, larger in ((0, 1), (1, 2)):
        assert not (challenger[smaller] & ~challenger[larger]).any()
        assert not (control[smaller] & ~control[larger]).any()
    assert not (challenger[2] & control[2]).any()
    assert (challenger[2] | control[2]).all()


def test_arms_are_read_from_buckets_as_here(buckets: np.ndarray):
    for number in range(0, 1_000_000, 997):
        for share in (0.1, 0.4, 1.0):
            bucket = buckets[0, number]
            expected = "challenger" if bucket < share / 2 else "control" if bucket >= 1 - share / 2 else "champion"
            assert arm_of(SALTS[0], f"u-{number:016x}", share) == expected
