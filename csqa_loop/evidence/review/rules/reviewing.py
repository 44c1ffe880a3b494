"""What an agent may decide about an item of the review queue, and the fact that it becomes."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast, get_args
from uuid import UUID, uuid4

from csqa_loop.errors import PermanentError
from csqa_loop.events import ReviewDecided, derived_id
from csqa_loop.text.normal import encodable

ReviewAction = Literal["correct", "approve", "reject", "reopen"]
LONGEST_CORRECTION = 15_000
"""Characters; as a bad case may have."""
LONGEST_NOTE = 1500


class DecisionRefusedError(PermanentError):
    """The decision makes no sense; `field` says which part of it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


class DecidedMeanwhileError(PermanentError):
    """The item is not in the state that the decision needs: another agent decided first, or there is no decision to undo."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A requested decision, before anything is checked."""

    action: ReviewAction
    corrected_answer: str | None = None
    note: str = ""


def decision_in(row: Mapping[str, object]) -> Decision | None:
    """What a row of a file says; None where it is not filled in. A correction alone means `correct`.

    Raises:
        DecisionRefusedError: its action is none, or one of its fields is no text.
    """
    action, correction, note = (text_in(row, name) for name in ("action", "corrected_answer", "note"))
    if not action and not correction:
        return None
    action = action.lower() or "correct"
    if action not in get_args(ReviewAction):
        raise DecisionRefusedError("action", f"is {action[:40]!r}; it must be one of {', '.join(get_args(ReviewAction))}")
    if len(note) > LONGEST_NOTE:
        raise DecisionRefusedError("note", f"has {len(note)} characters; at most {LONGEST_NOTE} are kept")
    return Decision(cast("ReviewAction", action), correction or None, note)


def text_in(row: Mapping[str, object], field: str) -> str:
    """What a row of a file says there, trimmed; empty where it says nothing.

    Raises:
        DecisionRefusedError: it is no text, or none that UTF-8 can hold.
    """
    value = row.get(field)
    if value is not None and not isinstance(value, str):
        raise DecisionRefusedError(field, f"is {str(value)[:40]!r}, a {type(value).__name__}; text is expected")
    text = (value or "").strip()
    if not encodable(text):
        raise DecisionRefusedError(field, "holds half of a surrogate pair, which no UTF-8 text can hold")
    return text


@dataclass(frozen=True, slots=True)
class Past:
    """The last decision about an item."""

    event_id: str
    action: ReviewAction
    corrected_answer: str | None
    reviewer: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Item:
    """What a decision is about, as the ledger has it."""

    review_id: str
    kind: Literal["answer", "pair"]
    subject: str
    message_id: str
    conversation_id: str
    state: Literal["open", "decided"]
    imported: bool = False
    """A pair out of a file: there is no chat to which another answer could be given."""
    too_long: bool = False
    """A pair that no run could train on."""
    masked: bool = False
    """A pair whose better answer has a label where personal data stood."""
    last: Past | None = None


def decided(
    item: Item,
    decision: Decision,
    reviewer: str,
    now: datetime,
    *,
    token_limit: int,
    tokens_in: Callable[[str], int],
    event_id: UUID | None = None,
) -> ReviewDecided:
    """The event of a decision.

    Raises:
        DecisionRefusedError: the decision does not fit the item, or its correction cannot be trained on.
        DecidedMeanwhileError: the item is decided already; for `reopen`, it is open.
    """
    _require_state(item, decision)
    if decision.action != "correct" and decision.corrected_answer is not None:
        raise DecisionRefusedError("corrected_answer", f"belongs to the action 'correct', not to {decision.action!r}; leave it out")
    if decision.action == "approve" and item.kind != "pair":
        raise DecisionRefusedError("action", "only a held pair can be approved; an answer is corrected or rejected")
    if decision.action == "approve" and item.too_long:
        raise DecisionRefusedError("action", f"{item.subject} is longer than training takes: correct it to a shorter answer, or reject it")
    if decision.action == "approve" and item.masked:
        raise DecisionRefusedError(
            "action", f"{item.subject} would teach a label that stands where personal data was masked: correct it, or reject it"
        )
    if decision.action == "correct":
        _require_trainable(item, decision.corrected_answer, token_limit, tokens_in)
    return ReviewDecided(
        event_id=event_id or uuid4(),
        occurred_at=now,
        conversation_id=item.conversation_id,
        review_id=item.review_id,
        kind=item.kind,
        subject=item.subject,
        message_id=item.message_id,
        action=decision.action,
        corrected_answer=decision.corrected_answer.strip() if decision.corrected_answer else None,
        reviewer=reviewer,
        note=decision.note,
    )


def import_id(item: Item, decision: Decision) -> UUID:
    """Equal for the same decision in the same place of the item's history, so that a file imported twice decides once."""
    content = f"{decision.action}\n{(decision.corrected_answer or '').strip()}\n{decision.note}"
    before = item.last.event_id if item.last else ""
    return derived_id(item.review_id, "ReviewDecided", f"{before}\n{hashlib.sha256(content.encode()).hexdigest()}")


def says_the_same(item: Item, decision: Decision) -> bool:
    """Whether the item is decided in just this way."""
    last = item.last
    if item.state != "decided" or last is None or last.action != decision.action:
        return False
    return (last.corrected_answer or "") == (decision.corrected_answer or "").strip()


def _require_state(item: Item, decision: Decision) -> None:
    if decision.action == "reopen":
        if item.state != "decided":
            raise DecidedMeanwhileError(f"{item.review_id} is open: there is no decision to undo")
    elif item.state != "open":
        by = (
            f"{item.last.reviewer} decided {item.last.action!r} at {item.last.occurred_at:%Y-%m-%d %H:%M} UTC"
            if item.last
            else "it is closed"
        )
        raise DecidedMeanwhileError(f"{item.review_id} is decided already: {by}; `reopen` undoes that")


def _require_trainable(item: Item, correction: str | None, token_limit: int, tokens_in: Callable[[str], int]) -> None:
    if item.imported:
        raise DecisionRefusedError(
            "action", f"{item.subject} comes from an imported file: correct it there and import it again, or approve or reject it here"
        )
    if not (correction or "").strip():
        raise DecisionRefusedError("corrected_answer", "is empty; write what should have been answered, or reject the item")
    length, tokens = len(correction or ""), tokens_in(correction or "")
    if length > LONGEST_CORRECTION:
        raise DecisionRefusedError("corrected_answer", f"has {length} characters; at most {LONGEST_CORRECTION} are taken")
    if tokens > token_limit:
        raise DecisionRefusedError(
            "corrected_answer",
            f"has about {tokens} tokens; training takes at most {token_limit} (training.max_length, else model_server.max_model_len)",
        )
