"""Privacy once more on intake, for frontends that publish to Kafka themselves. On what a gateway wrote it changes nothing.

It knows the event and the settings alone, never which policies are current: so a replay comes to the same ledger.
"""

from typing import TypeVar

from pydantic import BaseModel

from csqa_loop.events import (
    AnswerGiven,
    AnswerProposed,
    ArmExposed,
    BadCaseReported,
    ChatMessage,
    Event,
    ExampleImported,
    FeedbackGiven,
    ReviewDecided,
)
from csqa_loop.text.identity import is_pseudonym, is_vouched_for, pseudonym
from csqa_loop.text.masking import NOTHING, Known, mask, may_tell, with_contacts

M = TypeVar("M", bound=BaseModel)
_MOST = (AnswerGiven, ArmExposed)
_APART = "\n" * 4
"""Between texts, so that digits of two are never taken for one number."""


def masked_event(secret: bytes, event: Event, own: Known = NOTHING) -> Event:
    """The event with its user pseudonymised and personal data in free text masked.

    System messages are the company's own words: they stay, and so does a contact that one of the same event states word for word.
    """
    if isinstance(event, _MOST) and _needs_nothing(event):
        return event
    match event:
        case ArmExposed():
            return _with(event, user=pseudonym(secret, event.user))
        case AnswerGiven():
            known = _stated(event.messages, own)
            return _with(
                event,
                user=pseudonym(secret, event.user),
                question=mask(event.question, known),
                answer=mask(event.answer, known),
                messages=_masked(event.messages, known),
            )
        case FeedbackGiven():
            known = _vouched_for(secret, event, own)
            return _with(event, user=pseudonym(secret, event.user), comment=event.comment and mask(event.comment, known))
        case BadCaseReported():
            known = _vouched_for(secret, event, own)
            return _with(event, corrected_answer=event.corrected_answer and mask(event.corrected_answer, known))
        case ReviewDecided():
            known = _vouched_for(secret, event, own)
            return _with(
                event, corrected_answer=event.corrected_answer and mask(event.corrected_answer, known), note=mask(event.note, known)
            )
        case AnswerProposed():
            return _with(event, answer=mask(event.answer, _vouched_for(secret, event, own)))
        case ExampleImported():
            known = _stated(event.messages, own)
            return _with(
                event,
                messages=_masked(event.messages, known),
                answer=mask(event.answer, known),
                rejected=event.rejected and mask(event.rejected, known),
            )
        case _:
            return event


def _needs_nothing(event: AnswerGiven | ArmExposed) -> bool:
    """True for nearly all that a gateway wrote, seen in one look at all texts: most of the log is these two kinds."""
    if not is_pseudonym(event.user):
        return False
    if isinstance(event, ArmExposed):
        return True
    conversation = [message.content for message in event.messages if message.role != "system"]
    return not may_tell(_APART.join((event.question, event.answer, *conversation)))


def _stated(messages: tuple[ChatMessage, ...], own: Known) -> Known:
    return with_contacts(own, "\n\n".join(message.content for message in messages if message.role == "system"))


def _vouched_for(secret: bytes, event: FeedbackGiven | BadCaseReported | ReviewDecided | AnswerProposed, own: Known) -> Known:
    """With the contacts of which a gateway or the loop says that a policy stated them. Anybody may claim it; the proof needs the secret."""
    if not is_vouched_for(secret, event.message_id, event.stated, event.stated_proof):
        return own
    return own.stating(event.stated)


def _masked(messages: tuple[ChatMessage, ...], known: Known) -> tuple[ChatMessage, ...]:
    return tuple(message if message.role == "system" else _with(message, content=mask(message.content, known)) for message in messages)


def _with(model: M, **values: object) -> M:
    changed = {name: value for name, value in values.items() if getattr(model, name) != value}
    return model.model_copy(update=changed) if changed else model
