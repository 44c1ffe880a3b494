"""The paired bootstrap: how far candidate and champion are apart on the same items, and how much of that could be chance."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 2000
_AT_ONCE = 200
"""Resamples that are held in memory together: 200 times the number of clusters."""
_SEED = 20_000


@dataclass(frozen=True)
class BootstrapInterval:
    """Bounds of a mean difference, candidate minus champion, in the unit of what was compared."""

    lower: float
    upper: float


def difference_interval(
    champion: Sequence[float],
    candidate: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    level: float,
    weights: Sequence[float] | None = None,
) -> BootstrapInterval:
    """Percentile interval of the mean difference over items, resampling whole clusters (Efron and Tibshirani 1993, section 13.3).

    Items of one cluster, such as two answers to one question, are alike and therefore drawn together. The seed is fixed: equal data have
    equal bounds.

    Args:
        champion: one value an item.
        candidate: one value for each of the same items.
        clusters: what each item belongs to.
        level: coverage, such as 0.95.
        weights: of the items in the mean, above zero; None: all the same.

    Raises:
        ValueError: the three differ in length, or are empty.
    """
    if not len(champion) == len(candidate) == len(clusters) or not clusters:
        msg = f"{len(champion)}, {len(candidate)} and {len(clusters)} values; champion, candidate and clusters need the same number, at least one"
        raise ValueError(msg)
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    members = np.array([numbers[cluster] for cluster in clusters])
    shares = np.ones(len(clusters)) if weights is None else np.asarray(weights, dtype=float)
    sums = np.bincount(members, weights=(np.asarray(candidate, dtype=float) - np.asarray(champion, dtype=float)) * shares)
    sizes = np.bincount(members, weights=shares)
    random = np.random.default_rng(_SEED)
    means = []
    for _ in range(_RESAMPLES // _AT_ONCE):
        drawn = random.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), size=_AT_ONCE)
        means.append((drawn @ sums) / (drawn @ sizes))
    lower, upper = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return BootstrapInterval(float(lower), float(upper))
