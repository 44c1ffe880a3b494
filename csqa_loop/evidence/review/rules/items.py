"""Items of the review queue as people and files get them. Moments are ISO 8601 in UTC."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from csqa_loop.evidence.review.rules.reviewing import ReviewAction

Kind = Literal["answer", "pair"]
State = Literal["open", "decided"]


@dataclass(frozen=True, slots=True)
class ShownLease:
    """Who has an item, and until when."""

    agent: str
    until: str


@dataclass(frozen=True, slots=True)
class QueueItem:
    """An item as the queue lists it."""

    review_id: str
    kind: Kind
    state: State
    reason: str
    fault: str | None
    detail: str | None
    policy_id: str | None
    question: str
    opened_at: str
    lease: ShownLease | None = None


@dataclass(frozen=True, slots=True)
class RetrievedPassage:
    """A passage that the model read. `text` is None where the prompt cannot be told apart; then the item's `prompt` has it whole."""

    policy_id: str
    section: str
    version: str
    score: float
    text: str | None
    current: bool


@dataclass(frozen=True, slots=True)
class Thumb:
    """A customer's thumb on the answer."""

    thumb: str
    comment: str | None
    occurred_at: str


@dataclass(frozen=True, slots=True)
class ReportedCase:
    """A bad case about the answer."""

    reason: str
    reviewer: str
    corrected_answer: str | None
    occurred_at: str


@dataclass(frozen=True, slots=True)
class ItemBlame:
    """Whose fault the answer was found to be."""

    event_id: str
    fault: str
    basis: str
    detail: str
    policy_id: str
    version: str
    section: str
    prompt_support: float
    best_support: float
    missing_numbers: list[str]


@dataclass(frozen=True, slots=True)
class Rival:
    """The pair that contradicts a held one."""

    pair_id: str
    chosen: str


@dataclass(frozen=True, slots=True)
class ItemPair:
    """The pair that an item of kind `pair` is about."""

    pair_id: str
    state: str
    source: str
    contributor: str
    chosen: str
    rejected: str
    held: list[str]
    too_long: bool
    masked: bool
    rival: Rival | None


@dataclass(frozen=True, slots=True)
class PastDecision:
    """What an agent decided about the item."""

    event_id: str
    action: ReviewAction
    corrected_answer: str | None
    reviewer: str
    note: str
    occurred_at: str


@dataclass(frozen=True, slots=True)
class MadePair:
    """A pair that was made of a decision."""

    pair_id: str
    state: str
    held: list[str]
    event_id: str


@dataclass(frozen=True, slots=True)
class WholeItem:
    """An item with everything a person needs to judge it. Conversation and answer are those of the chat, or of an imported pair without one."""

    review_id: str
    kind: Kind
    subject: str
    message_id: str
    conversation_id: str
    opened_at: str
    event_id: str
    reason: str
    fault: str | None
    detail: str | None
    pair_id: str | None
    policy_id: str | None
    question: str
    state: State
    imported: bool
    answer: str
    answered_at: str | None
    source: str
    adapter: str | None
    conversation: list[dict[str, str]]
    prompt: str
    retrieved: list[RetrievedPassage]
    feedback: list[Thumb]
    bad_cases: list[ReportedCase]
    blame: ItemBlame | None
    pair: ItemPair | None
    history: list[PastDecision]
    made: list[MadePair]
    lease: ShownLease | None = None


@dataclass(frozen=True, slots=True)
class QueuePage:
    """Bad cases, then thumbs, then held pairs, each oldest first; the next page's cursor; how many there are of each kind; who asks."""

    items: Sequence[QueueItem]
    next: str | None
    counts: dict[Kind, int]
    agent: str = ""


@dataclass(frozen=True, slots=True)
class WholePage:
    """A page of whole items."""

    items: Sequence[WholeItem]
    next: str | None
    counts: dict[Kind, int]
    agent: str = ""
