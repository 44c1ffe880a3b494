"""Better answers that somebody or something found afterwards, and what people decided about doubtful ones: `csqa.bad-cases` too."""

from typing import ClassVar, Literal

from pydantic import Field

from csqa_loop.events import topics
from csqa_loop.events.common import AdapterName, Id, Text, Vouching


class ReviewDecided(Vouching):
    """An agent decided one item of the review queue. The last decision of an item counts, so `reopen` undoes.

    `subject` is what is reviewed: `message_id` of an answer (kind `answer`), or a pair that is held (kind `pair`).
    """

    topic: ClassVar[str] = topics.BAD_CASES
    key_field: ClassVar[str] = "conversation_id"
    type: Literal["ReviewDecided"] = "ReviewDecided"
    conversation_id: Id
    review_id: Id
    kind: Literal["answer", "pair"]
    subject: Id
    message_id: Id
    action: Literal["correct", "approve", "reject", "reopen"]
    """`correct`: `corrected_answer` is what should have been said. `approve`: the held pair is good as it is. `reject`: nothing to learn here."""
    corrected_answer: str | None = Field(default=None, max_length=20_000)
    reviewer: Id
    note: str = Field(default="", max_length=2000)


class AnswerProposed(Vouching):
    """A better answer to the same messages, found by a model and preferred by a judge in both orders."""

    topic: ClassVar[str] = topics.BAD_CASES
    key_field: ClassVar[str] = "conversation_id"
    type: Literal["AnswerProposed"] = "AnswerProposed"
    conversation_id: Id
    message_id: Id
    method: Literal["resample", "judge"]
    """`resample`: the champion said it when asked again. `judge`: the judge model wrote it."""
    answer: Text
    adapter: AdapterName
    """What generated the answer; for `judge` the champion it was compared with."""
    judge_model: Id
    judge_prompt_version: str = ""
