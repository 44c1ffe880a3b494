"""Which method a training run uses, from what there is to train on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar

Method = Literal["dpo", "kto", "sft"]
MethodSetting = Literal["auto", "dpo", "kto", "sft"]
"""`auto`: the method that the examples at hand are best for."""
RunMethod = Literal["dpo", "kto", "sft", "placebo"]
"""A run may also make an adapter that answers like the champion, to test gate and experiment."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Supply:
    """What there is to train on, held-out examples not counted."""

    pairs: int
    liked: int
    disliked: int
    demonstrations: int
    champion_is_base: bool
    """No adapter has been promoted yet."""


@dataclass(frozen=True)
class PlanPolicy:
    """How many examples make a method worth its run."""

    min_pairs: int = 20
    min_rated: int = 100
    """Liked and disliked answers, of each."""
    min_demonstrations: int = 100


@dataclass(frozen=True)
class Plan:
    """The method, and why."""

    method: Method
    reason: str


def plan(setting: MethodSetting, supply: Supply, policy: PlanPolicy) -> Plan | None:
    """What to run, or None where there is nothing to run it on. A method that was asked for needs at least one example, `auto` enough of them.

    A first SFT comes before preferences: they refine what a model can do already. Then pairs, which say more than a thumb; then KTO.
    """
    have = {
        "dpo": supply.pairs,
        "kto": min(supply.liked, supply.disliked) + supply.pairs,
        "sft": supply.demonstrations,
    }
    if setting != "auto":
        return Plan(setting, f"{setting} is set") if have[setting] else None
    if supply.champion_is_base and supply.demonstrations >= policy.min_demonstrations:
        return Plan("sft", f"{supply.demonstrations} demonstrations and no adapter yet: a first SFT")
    if supply.pairs >= policy.min_pairs:
        return Plan("dpo", f"{supply.pairs} preference pairs, of {policy.min_pairs} needed")
    if min(supply.liked, supply.disliked) >= policy.min_rated:
        return Plan("kto", f"{supply.pairs} pairs are too few, but {supply.liked} liked and {supply.disliked} disliked answers are enough")
    return None


def mixed(rows: Sequence[_T], categories: Sequence[str], shares: Mapping[str, float], seed: int) -> list[_T]:
    """As many rows as the shares allow, category by category, in their old order. No shares: all of them.

    The category that is scarcest for its share sets the size of the whole; categories without a share are left out. The share of a category
    without rows goes to the others, in proportion (`unmet` names it). `categories` names the category of each row.
    """
    if not shares:
        return list(rows)
    there = set(categories)
    total_share = sum(share for name, share in shares.items() if name in there)
    shares = {name: share / total_share for name, share in shares.items() if name in there}
    if not shares:
        return []
    places: dict[str, list[int]] = {name: [] for name in shares}
    for place, category in enumerate(categories):
        if category in places:
            places[category].append(place)
    # A millionth lets 60 % of 10 rows be 6 rows.
    total = min(len(places[name]) / share for name, share in shares.items())
    random = Random(seed)
    chosen = [place for name, share in sorted(shares.items()) for place in random.sample(places[name], int(total * share + 1e-6))]
    return [rows[place] for place in sorted(chosen)]


def unmet(categories: Sequence[str], shares: Mapping[str, float]) -> tuple[str, ...]:
    """Categories that have a share and no rows, by name."""
    return tuple(sorted(shares.keys() - set(categories)))
