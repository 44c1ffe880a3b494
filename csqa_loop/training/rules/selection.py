"""What a training set holds: nothing twice, nothing held out, and no more than its share from one person or category."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

from csqa_loop.evidence.rules.examples import UnpairedExample
from csqa_loop.evidence.rules.pairs import Pair, question_key
from csqa_loop.text.normal import normalised
from csqa_loop.text.similarity import Protected, near_duplicates, signature


class LeftOutReason(StrEnum):
    """Why a pair is not in a training set. It stays fresh, and may be in a later one."""

    NEAR_REPEAT_OF_HELD_OUT = "near_repeat_of_held_out"
    NEAR_DUPLICATE = "near_duplicate"
    USER_PER_DAY = "user_per_day"
    CONTRIBUTOR_PER_DAY = "contributor_per_day"
    USER_SHARE = "user_share"
    CONTRIBUTOR_SHARE = "contributor_share"
    CATEGORY_SHARE = "category_share"
    BEYOND_MAX = "beyond_max"


@dataclass(frozen=True)
class SelectionPolicy:
    """The caps. A user is a customer, a contributor who says what is better; a pair that names none is not capped by them."""

    max_pairs: int
    user_share: float = 0.02
    """Largest part of the set from one user, and never less than one pair."""
    contributor_share: float = 0.5
    """The same for reviewers and judges. Where there is only one of them, that one is not capped: a set needs at least one."""
    category_share: float = 1.0
    """The same for categories of policies: 1 lets one topic of the week be the whole set."""
    user_per_day: int = 5
    """Pairs of one user and UTC day."""
    contributor_per_day: int = 500
    near_duplicate: float = 0.85
    """Estimated Jaccard similarity of the trigrams of question and chosen answer, from which two pairs are one."""
    newest_share: float = 0.0
    """Newest part of the pairs, of as many as a set may hold, that are held back: they measure whether what a run learns holds later too."""


class _Offered(Protocol):
    """What caps ask of a pair or an example."""

    @property
    def example_id(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def user(self) -> str: ...
    @property
    def contributor(self) -> str: ...
    @property
    def reviewer(self) -> str: ...
    @property
    def category(self) -> str: ...


@dataclass(frozen=True)
class LeftOut:
    """A pair that is not in the set."""

    pair_id: str
    reason: LeftOutReason
    detail: str
    """The pair or question that it repeats, or the cap that it exceeds."""


@dataclass(frozen=True)
class Selection:
    """Every pair offered is in one of them, oldest first."""

    taken: tuple[Pair, ...]
    left_out: tuple[LeftOut, ...]
    held_back: tuple[Pair, ...] = ()
    """The newest: they measure this run, and a later one may be trained on them."""

    @property
    def users(self) -> int:
        """Distinct customers of the pairs taken."""
        return len({pair.user for pair in self.taken} - {""})

    def __str__(self) -> str:
        counts = Counter(entry.reason for entry in self.left_out)
        reasons = ", ".join(f"{counts[reason]} {reason}" for reason in LeftOutReason if counts[reason])
        newest = f"; {len(self.held_back)} newest held back" if self.held_back else ""
        return f"{len(self.taken)} pairs of {self.users} customers{newest}" + (f"; left out: {reasons}" if reasons else "")


def select(pairs: Iterable[Pair], protected_questions: Iterable[str], policy: SelectionPolicy) -> Selection:
    """The oldest pairs that may be trained on together, whatever order they come in. Their ids must be distinct."""
    pairs, newest = _held_back(sorted(pairs, key=lambda pair: (pair.occurred_at, pair.pair_id)), policy)
    left_out = _near_repeats(pairs, [*protected_questions, *(pair.question for pair in newest)])
    left_out |= _near_duplicates([pair for pair in pairs if pair.pair_id not in left_out], policy.near_duplicate)
    left_out |= _beyond_a_day([pair for pair in pairs if pair.pair_id not in left_out], policy)
    left_out |= _beyond_shares([pair for pair in pairs if pair.pair_id not in left_out], policy)
    return Selection(
        taken=tuple(pair for pair in pairs if pair.pair_id not in left_out),
        left_out=tuple(left_out[pair.pair_id] for pair in pairs if pair.pair_id in left_out),
        held_back=tuple(newest),
    )


def select_examples(
    examples: Iterable[UnpairedExample], protected_questions: Iterable[str], policy: SelectionPolicy
) -> tuple[UnpairedExample, ...]:
    """The oldest examples that may be trained on together, by the caps of pairs. Equal answers to one question count once, and not at all
    where some liked them and others did not.
    """
    offered = sorted(examples, key=lambda example: (example.occurred_at, example.example_id))
    repeats = Protected(protected_questions).repeated_by(example.question for example in offered)
    first: dict[tuple[str, str], UnpairedExample] = {}
    disputed: set[tuple[str, str]] = set()
    for example in offered:
        matter = (question_key(example.question), normalised(example.answer))
        if first.setdefault(matter, example).liked != example.liked:
            disputed.add(matter)
    selected = [example for matter, example in first.items() if matter not in disputed and example.question not in repeats]
    for cap in (_beyond_a_day, _beyond_shares):
        left_out = cap(selected, policy)
        selected = [example for example in selected if example.example_id not in left_out]
    return tuple(selected)


def _held_back(pairs: Sequence[Pair], policy: SelectionPolicy) -> tuple[list[Pair], list[Pair]]:
    """(pairs without the newest, the newest)."""
    first = len(pairs) - math.floor(policy.newest_share * min(len(pairs), policy.max_pairs) + 1e-9)
    older, newest = pairs[:first], pairs[first:]
    # A repeated question does not show whether training holds later; held back, the most frequent questions would be in no set.
    repeats = Protected(pair.question for pair in older).repeated_by(pair.question for pair in newest) if newest else {}
    sides = ([pair for pair in newest if (pair.question in repeats) == repeated] for repeated in (True, False))
    repeated, new = sides
    return [*older, *repeated], new


def _near_repeats(pairs: Sequence[Pair], protected_questions: Iterable[str]) -> dict[str, LeftOut]:
    repeats = Protected(protected_questions).repeated_by(pair.question for pair in pairs)
    return {
        pair.pair_id: LeftOut(pair.pair_id, LeftOutReason.NEAR_REPEAT_OF_HELD_OUT, repeats[pair.question])
        for pair in pairs
        if pair.question in repeats
    }


def _near_duplicates(pairs: Sequence[Pair], threshold: float) -> dict[str, LeftOut]:
    # The heaviest of its kind stays, the oldest among equals.
    ranked = sorted(pairs, key=lambda pair: -pair.weight)
    signatures = [pair.signature or signature(pair.matter) for pair in ranked]
    duplicates = near_duplicates(signatures, threshold)
    return {
        ranked[index].pair_id: LeftOut(ranked[index].pair_id, LeftOutReason.NEAR_DUPLICATE, ranked[original].pair_id)
        for index, original in duplicates.items()
    }


def _beyond_a_day(pairs: Sequence[_Offered], policy: SelectionPolicy) -> dict[str, LeftOut]:
    counts: Counter[tuple[LeftOutReason, str, str]] = Counter()
    left_out = {}
    for pair in pairs:
        day = pair.occurred_at.astimezone(UTC).date().isoformat()
        caps = {
            (LeftOutReason.USER_PER_DAY, pair.user, day): policy.user_per_day,
            (LeftOutReason.CONTRIBUTOR_PER_DAY, pair.contributor, day): policy.contributor_per_day,
        }
        full = next((key for key, cap in caps.items() if key[1] and counts[key] >= cap), None)
        if full is None:
            counts.update(caps.keys())
        else:
            reason, name, _ = full
            left_out[pair.example_id] = LeftOut(pair.example_id, reason, f"{name} has {caps[full]} on {day}")
    return left_out


def _beyond_shares(pairs: Sequence[_Offered], policy: SelectionPolicy) -> dict[str, LeftOut]:
    """A cap is a share of the set that it makes: the greatest size at which as many pairs as that are within their caps."""
    size = min(len(pairs), policy.max_pairs)
    while True:
        left_out = _beyond_size(pairs, size, policy)
        if len(pairs) - len(left_out) == size:
            return left_out
        # Smaller sets have no larger caps, so no greater size can do.
        size = len(pairs) - len(left_out)


def _beyond_size(pairs: Sequence[_Offered], size: int, policy: SelectionPolicy) -> dict[str, LeftOut]:
    shares = {
        LeftOutReason.USER_SHARE: policy.user_share,
        LeftOutReason.CONTRIBUTOR_SHARE: policy.contributor_share,
        LeftOutReason.CATEGORY_SHARE: policy.category_share,
    }
    # 0.29 * 100 is 28.999...: no cap is one less for that.
    caps = {reason: max(1, math.floor(share * size + 1e-9)) for reason, share in shares.items() if share < 1}
    if len({pair.reviewer for pair in pairs} - {""}) == 1:
        caps.pop(LeftOutReason.CONTRIBUTOR_SHARE, None)
    counts: Counter[tuple[LeftOutReason, str]] = Counter()
    selected = 0
    left_out = {}
    for pair in pairs:
        names = {
            LeftOutReason.USER_SHARE: pair.user,
            LeftOutReason.CONTRIBUTOR_SHARE: pair.reviewer,
            LeftOutReason.CATEGORY_SHARE: pair.category,
        }
        full = next((reason for reason, cap in caps.items() if names[reason] and counts[reason, names[reason]] >= cap), None)
        if full is not None:
            left_out[pair.example_id] = LeftOut(pair.example_id, full, f"{names[full]} has {caps[full]} of {size}")
        elif selected == size:
            left_out[pair.example_id] = LeftOut(pair.example_id, LeftOutReason.BEYOND_MAX, f"the set holds {size}")
        else:
            selected += 1
            counts.update(names.items())
    return left_out
