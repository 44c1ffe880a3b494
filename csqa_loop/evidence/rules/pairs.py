"""From an answer and a better one to a preference pair, and what may never be trained on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import orjson

from csqa_loop.evidence.rules.quality import QualityPolicy, cleaned, findings
from csqa_loop.ledger.rules.holdout import held_out
from csqa_loop.settings.learning import WEIGHTS, Source
from csqa_loop.text.normal import normalised
from csqa_loop.text.numbers import numbers_in

PairState = Literal["fresh", "held", "held_out", "claimed", "quarantined", "withdrawn"]
"""What `pair_states` says of a pair."""


@dataclass(frozen=True)
class PairPolicy:
    """How pairs are made. Tables that rest on it are functions of the events and of this."""

    weights: Mapping[Source, float] = field(default_factory=lambda: dict(WEIGHTS))
    grounding: bool = True
    """Whether blame decides; without it every correction of what the model wrote becomes a pair."""
    min_raters: int = 2
    """Distinct users who must agree on each side before two rated answers make a pair."""
    chunk_characters: int = 700
    """Size of chunks, as the indexer cuts policies."""
    quality: QualityPolicy = field(default_factory=QualityPolicy)


@dataclass(frozen=True)
class Answer:
    """An answer, as far as a pair needs it."""

    event_id: str
    message_id: str
    conversation_id: str
    user: str
    question: str
    prompt: str
    """The exact messages the model got, as a JSON list of {role, content}."""
    answer: str
    source: str
    adapter: str
    policy_id: str
    section: str
    quoted: tuple[tuple[str, ...], ...] = ()
    """(policy_id, version, section) of every passage in the prompt, best first."""

    @property
    def system_text(self) -> str:
        """What the model was given to read: its system messages."""
        return system_text_in(self.prompt)


@dataclass(frozen=True)
class Better:
    """A better answer, and who gave it."""

    event_id: str
    answer: str
    source: Source
    contributor: str
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
    user: str = ""
    """The customer's pseudonym."""
    contributor: str = ""
    """Who says that `chosen` is better: an agent, a judge model, the operator of an import, or `customers`."""
    category: str = ""
    quoted: tuple[tuple[str, ...], ...] = ()
    """(policy_id, version, section) that the prompt quoted: when a section's text changes, the pair is out of date. Without a section: when the policy does."""
    question_key: str = ""
    """Equal for equal questions."""
    numbers: tuple[str, ...] = ()
    """What `chosen` states, canonical."""
    held: tuple[str, ...] = ()
    """Why it waits for a review; empty: it does not."""
    signature: bytes = b""
    """MinHash of `matter`, for all pairs of a batch at once; empty where it was not made."""
    review_id: str = ""

    @property
    def example_id(self) -> str:
        """The pair's id."""
        return self.pair_id

    @property
    def reviewer(self) -> str:
        """The one agent or judge model whose word this is; empty for what many customers or an operator's file say."""
        return self.contributor if self.source in {"correction", "review", "resample", "judge"} else ""

    @property
    def matter(self) -> str:
        """What makes two pairs near-duplicates."""
        return f"{self.question}\n{self.chosen}"


def pair_id_of(answer_event_id: str, evidence_event_id: str) -> str:
    """Deterministic: the same answer and the same better answer are the same pair."""
    return "p-" + hashlib.sha256(f"{answer_event_id}\n{evidence_event_id}".encode()).hexdigest()[:16]


def review_id_of(kind: Literal["answer", "pair"], subject: str) -> str:
    """Names one item of the review queue for ever."""
    return "v-" + hashlib.sha256(f"{kind}\n{subject}".encode()).hexdigest()[:16]


def question_key(question: str) -> str:
    """16 hex, equal for questions that differ in case, width, spaces and punctuation alone."""
    return hashlib.sha256(normalised(question).encode()).hexdigest()[:16]


def pair_from(answer: Answer, better: Better, policy: PairPolicy, *, category: str = "") -> Pair | None:
    """The pair, or None where there is none to make: nothing better is known, or the model did not write the answer."""
    chosen, rejected = cleaned(better.answer), answer.answer.strip()
    if answer.source != "model" or not chosen or normalised(chosen) == normalised(rejected):
        return None
    pair_id = pair_id_of(answer.event_id, better.event_id)
    numbers = numbers_in(chosen)
    reasons = list(findings(answer.question, answer.prompt, chosen, rejected, policy.quality))
    if better.source in {"rated", "resample", "judge"}:
        # No person wrote these for this policy.
        reasons += unsupported(answer.question, answer.system_text, chosen)
    return Pair(
        pair_id=pair_id,
        message_id=answer.message_id,
        policy_id=answer.policy_id,
        section=answer.section,
        held_out=held_out(answer.policy_id, answer.section),
        question=answer.question,
        prompt=answer.prompt,
        chosen=chosen,
        rejected=rejected,
        source=better.source,
        weight=policy.weights[better.source],
        adapter=answer.adapter,
        answer_event_id=answer.event_id,
        evidence_event_id=better.event_id,
        occurred_at=better.occurred_at,
        user=answer.user,
        contributor=better.contributor,
        category=category or answer.policy_id,
        quoted=answer.quoted,
        question_key=question_key(answer.question),
        numbers=numbers,
        held=tuple(reasons),
        review_id=review_id_of("pair", pair_id),
    )


def unsupported(question: str, system_text: str, answer: str) -> list[str]:
    """Why an answer that no person wrote waits for a review: what it states must stand in what the model read. Empty: it does."""
    stated = {*numbers_in(system_text), *numbers_in(question)}
    unknown = [number for number in numbers_in(answer) if number not in stated]
    return [f"unsupported: states {', '.join(unknown)}, which the prompt does not"] if unknown else []


def system_text_in(prompt: str) -> str:
    """What a model was given to read: the system messages of a prompt, which is a JSON list of {role, content}."""
    return "\n\n".join(message["content"] for message in orjson.loads(prompt) if message["role"] == "system")
