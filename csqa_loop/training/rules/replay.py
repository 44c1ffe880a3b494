"""Which earlier pairs a run repeats, so that it does not forget what they taught."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal


@dataclass(frozen=True)
class Earlier:
    """A pair that an earlier run was trained on."""

    pair_id: str
    category: str
    usable: bool = True
    """Neither quarantined nor out of date nor held out."""


@dataclass(frozen=True)
class ReplayPolicy:
    """How a run treats the pairs that earlier ones were trained on."""

    mode: Literal["incremental", "anchored"] = "incremental"
    """Continue the champion and repeat a part, or start afresh from the base on all."""
    share: float = 0.3
    """Part of an incremental training set that repeats earlier pairs."""
    most: int = 2000
    """Earlier pairs that an anchored run takes."""
    seed: int = 0


def repeated(earlier: Sequence[Earlier], *, fresh: int, policy: ReplayPolicy) -> tuple[str, ...]:
    """Ids of the earlier pairs for a run on `fresh` new ones."""
    if policy.mode == "anchored":
        return anchored(earlier, most=policy.most, seed=policy.seed)
    return replay(earlier, fresh=fresh, share=policy.share, seed=policy.seed)


def replay(earlier: Sequence[Earlier], *, fresh: int, share: float, seed: int) -> tuple[str, ...]:
    """Ids of the pairs to repeat beside `fresh` new ones, in order of id: `share` of the whole training set, or all that there are.

    Stratified: every category gets its part of the earlier pairs (largest remainders), so that a rare one is not forgotten first; within one,
    chance decides. A function of the set of earlier pairs, not of their order.
    """
    categories: dict[str, list[str]] = {}
    for pair_id, category in sorted({(pair.pair_id, pair.category) for pair in earlier if pair.usable}):
        categories.setdefault(category, []).append(pair_id)
    available = sum(len(ids) for ids in categories.values())
    size = min(available, math.floor(fresh * share / (1 - share) + 0.5))
    if not size:
        return ()
    exact = {name: size * len(ids) / available for name, ids in categories.items()}
    parts = {name: math.floor(part) for name, part in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (parts[name] - exact[name], name))
    for name in by_remainder[: size - sum(parts.values())]:
        parts[name] += 1
    random = Random(seed)
    return tuple(sorted(pair_id for name in sorted(categories) for pair_id in random.sample(categories[name], parts[name])))


def anchored(earlier: Sequence[Earlier], *, most: int, seed: int) -> tuple[str, ...]:
    """Ids of the earlier pairs for a run that starts afresh: all that are usable, or a stratified `most` of them."""
    usable = len({pair.pair_id for pair in earlier if pair.usable})
    if usable <= most:
        return tuple(sorted({pair.pair_id for pair in earlier if pair.usable}))
    return replay(earlier, fresh=most, share=0.5, seed=seed)
