"""What customers and agents say about it: `csqa.feedback` and `csqa.bad-cases`."""

from typing import ClassVar, Literal

from pydantic import Field

from csqa_loop.events import topics
from csqa_loop.events.common import Id, Vouching


class FeedbackGiven(Vouching):
    """A thumb on one answer. The comment is never a correction."""

    topic: ClassVar[str] = topics.FEEDBACK
    key_field: ClassVar[str] = "conversation_id"
    type: Literal["FeedbackGiven"] = "FeedbackGiven"
    conversation_id: Id
    message_id: Id
    user: Id
    thumb: Literal["up", "down"]
    comment: str | None = Field(default=None, max_length=10_000)


class BadCaseReported(Vouching):
    """An agent says that an answer was bad and, where known, what should have been said."""

    topic: ClassVar[str] = topics.BAD_CASES
    key_field: ClassVar[str] = "conversation_id"
    type: Literal["BadCaseReported"] = "BadCaseReported"
    conversation_id: Id
    message_id: Id
    reason: Literal["wrong", "incomplete", "tone", "unsafe", "other"]
    corrected_answer: str | None = Field(default=None, max_length=20_000)
    reviewer: Id
