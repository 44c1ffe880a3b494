"""From a bad case with a better answer to a preference pair, and what may never be trained on."""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

HOLDOUT_SHARE = 0.15
_NEAR_REPEAT = 0.8
_NGRAM = 3


@dataclass(frozen=True)
class Answer:
    """What the model said, as far as a pair needs it."""

    event_id: str
    message_id: str
    question: str
    prompt: str
    """The exact messages the model got, as a JSON list of {role, content}."""
    answer: str
    source: str
    adapter: str
    policy_id: str
    section: str


@dataclass(frozen=True)
class Correction:
    """What an agent says should have been answered."""

    event_id: str
    message_id: str
    corrected_answer: str | None
    occurred_at: datetime


@dataclass(frozen=True)
class Pair:
    """One preference: for `prompt`, `chosen` is better than `rejected`."""

    pair_id: str
    message_id: str
    policy_id: str
    section: str
    held_out: bool
    question: str
    prompt: str
    chosen: str
    rejected: str
    source: str
    weight: float
    adapter: str
    answer_event_id: str
    evidence_event_id: str
    occurred_at: datetime


def held_out(policy_id: str, section: str) -> bool:
    """Whether a policy section only ever evaluates: decided once, by a stable hash, for all that will ever cite it."""
    digest = hashlib.sha256(f"{policy_id}\n{section}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < HOLDOUT_SHARE


def pair_from(answer: Answer, correction: Correction) -> Pair | None:
    """The pair, or None where there is none to make: nothing better is known, or the model did not write the answer."""
    chosen = (correction.corrected_answer or "").strip()
    if answer.source != "model" or not chosen or normalised(chosen) == normalised(answer.answer):
        return None
    pair_id = "p-" + hashlib.sha256(f"{answer.event_id}\n{correction.event_id}".encode()).hexdigest()[:16]
    return Pair(
        pair_id=pair_id,
        message_id=answer.message_id,
        policy_id=answer.policy_id,
        section=answer.section,
        held_out=held_out(answer.policy_id, answer.section),
        question=answer.question,
        prompt=answer.prompt,
        chosen=chosen,
        rejected=answer.answer.strip(),
        source="bad_case",
        weight=1.0,
        adapter=answer.adapter,
        answer_event_id=answer.event_id,
        evidence_event_id=correction.event_id,
        occurred_at=correction.occurred_at,
    )


def normalised(text: str) -> str:
    """Letters and digits alone, case and width folded: two spellings of one sentence are equal."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())


def near_repeat(first: str, second: str) -> bool:
    """Whether two questions are nearly the same: Jaccard similarity of their character trigrams, 0.8 or more."""
    left, right = _ngrams(first), _ngrams(second)
    return len(left & right) >= _NEAR_REPEAT * len(left | right)


def without_near_repeats(pairs: Sequence[Pair], protected: Iterable[str]) -> list[Pair]:
    """The pairs whose question does not nearly repeat a protected (held-out) one."""
    guarded = [_ngrams(question) for question in set(protected)]
    kept = []
    for pair in pairs:
        own = _ngrams(pair.question)
        if not any(len(own & other) >= _NEAR_REPEAT * len(own | other) for other in guarded):
            kept.append(pair)
    return kept


def _ngrams(text: str) -> frozenset[str]:
    letters = normalised(text)
    return frozenset(letters[start : start + _NGRAM] for start in range(max(1, len(letters) - _NGRAM + 1)))
