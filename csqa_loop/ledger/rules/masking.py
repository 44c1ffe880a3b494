"""Privacy once more on intake, for frontends that publish to Kafka themselves. On what a gateway wrote it changes nothing."""

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
from csqa_loop.text.identity import is_pseudonym, pseudonym
from csqa_loop.text.masking import mask, may_tell

M = TypeVar("M", bound=BaseModel)
_MOST = (AnswerGiven, ArmExposed)
_APART = "\n" * 4
"""Between texts, so that digits of two are never taken for one number."""


def masked_event(secret: bytes, event: Event) -> Event:
    """The event with its user pseudonymised and personal data in free text masked. System messages are the company's own words."""
    if isinstance(event, _MOST) and _needs_nothing(event):
        return event
    match event:
        case ArmExposed():
            return _with(event, user=pseudonym(secret, event.user))
        case AnswerGiven():
            return _with(
                event,
                user=pseudonym(secret, event.user),
                question=mask(event.question),
                answer=mask(event.answer),
                messages=_masked(event.messages),
            )
        case FeedbackGiven():
            return _with(event, user=pseudonym(secret, event.user), comment=event.comment and mask(event.comment))
        case BadCaseReported():
            return _with(event, corrected_answer=event.corrected_answer and mask(event.corrected_answer))
        case ReviewDecided():
            return _with(event, corrected_answer=event.corrected_answer and mask(event.corrected_answer), note=mask(event.note))
        case AnswerProposed():
            return _with(event, answer=mask(event.answer))
        case ExampleImported():
            return _with(
                event, messages=_masked(event.messages), answer=mask(event.answer), rejected=event.rejected and mask(event.rejected)
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


def _masked(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    return tuple(message if message.role == "system" else _with(message, content=mask(message.content)) for message in messages)


def _with(model: M, **values: object) -> M:
    changed = {name: value for name, value in values.items() if getattr(model, name) != value}
    return model.model_copy(update=changed) if changed else model
