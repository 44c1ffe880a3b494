"""Thumbs on answers to one question: which of them make pairs, and which pairs contradict each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from csqa_loop.evidence.rules.pairs import Answer, Better, PairPolicy
from csqa_loop.text.normal import normalised
from csqa_loop.text.numbers import disagree


@dataclass(frozen=True)
class Claim:
    """What a pair's chosen answer states about a question, from the policy versions that it rests on, best first; none: they are not known."""

    pair_id: str
    question_key: str
    quoted: tuple[tuple[str, str], ...]
    numbers: tuple[str, ...]


def contradictions(claims: Sequence[Claim]) -> dict[str, str]:
    """pair_id -> another pair that states other numbers about the same question, from the same policy version. Both wait for a person."""
    groups: dict[str, dict[tuple[tuple[tuple[str, str], ...], tuple[str, ...]], list[str]]] = {}
    for claim in claims:
        groups.setdefault(claim.question_key, {}).setdefault((claim.quoted, claim.numbers), []).append(claim.pair_id)
    rivals_of: dict[str, str] = {}
    for stated in groups.values():
        for (quoted, numbers), pair_ids in stated.items():
            rivals = [
                min(rival_ids)
                for (rest, rival_numbers), rival_ids in stated.items()
                if disagree(rival_numbers, numbers) and _meet(quoted, rest)
            ]
            if rivals:
                rivals_of |= dict.fromkeys(pair_ids, min(rivals))
    return rivals_of


def _meet(first: tuple[tuple[str, str], ...], second: tuple[tuple[str, str], ...]) -> bool:
    """Whether two answers may rest on the same text: the best source of one is among the other's, or is not known."""
    return not first or not second or first[0] in second or second[0] in first


@dataclass(frozen=True)
class Rating:
    """The last thumb on an answer that the model wrote."""

    message_id: str
    user: str
    thumb: str
    answer: Answer
    event_id: str
    occurred_at: datetime


def pair_of_rated(ratings: Sequence[Rating], policy: PairPolicy) -> tuple[Answer, Better] | None:
    """Of answers to the very same messages: the one that users disliked, and the one they liked instead.

    An answer is liked (disliked) when at least `min_raters` distinct users say so, and more than say the opposite.
    """
    by_text: dict[str, list[Rating]] = {}
    for rating in sorted(ratings, key=lambda rating: (rating.occurred_at, rating.event_id)):
        by_text.setdefault(normalised(rating.answer.answer), []).append(rating)
    scored = [(_net(group, policy.min_raters), group) for group in by_text.values()]
    liked = max((entry for entry in scored if entry[0] > 0), key=lambda entry: entry[0], default=None)
    disliked = min((entry for entry in scored if entry[0] < 0), key=lambda entry: entry[0], default=None)
    if liked is None or disliked is None:
        return None
    first_up = next(rating for rating in liked[1] if rating.thumb == "up")
    first_down = next(rating for rating in disliked[1] if rating.thumb == "down")
    return first_down.answer, Better(first_up.event_id, first_up.answer.answer, "rated", "customers", first_up.occurred_at)


def _net(group: Sequence[Rating], min_raters: int) -> int:
    """Users for less users against; 0 where neither side has enough."""
    ups = len({rating.user for rating in group if rating.thumb == "up"})
    downs = len({rating.user for rating in group if rating.thumb == "down"})
    return ups - downs if max(ups, downs) >= min_raters else 0
