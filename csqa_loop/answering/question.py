"""A question on its way to an answer."""

from dataclasses import dataclass
from datetime import datetime

from csqa_loop.events import AnswerGiven, ArmExposed, ChatMessage, Citation, Looked, Sampling


@dataclass(frozen=True, slots=True)
class Question:
    """What a frontend sends. The last message is the customer's question; system messages are not the frontend's to give."""

    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    conversation_id: str | None = None
    """None begins a conversation."""
    user: str | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is settled before the first token: on record is the exposure, and nothing else yet."""

    exposure: ArmExposed
    fallback: str
    question: str
    messages: tuple[ChatMessage, ...]
    citations: tuple[Citation, ...]
    retrieval: Looked
    index_version: str
    as_of: datetime
    covered: bool
    sampling: Sampling
    stop: tuple[str, ...]
    began: float
    """`time.perf_counter()` at the start."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that is on record."""

    event: AnswerGiven
    finish_reason: str
    exposure: ArmExposed
