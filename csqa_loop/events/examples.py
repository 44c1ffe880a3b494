"""Training examples that came from a file: `csqa.bad-cases`, where every better answer comes from."""

from typing import ClassVar, Literal

from pydantic import Field

from csqa_loop.events import topics
from csqa_loop.events.chats import ChatMessage
from csqa_loop.events.common import Event, Id, Text


class ExampleImported(Event):
    """One example of an imported file. Its event_id is derived from its content, so importing it twice changes nothing.

    With `rejected` it is a pair, with `liked` an unpaired answer, with neither a demonstration (what an answer should look like).
    """

    topic: ClassVar[str] = topics.BAD_CASES
    key_field: ClassVar[str] = "conversation_id"
    type: Literal["ExampleImported"] = "ExampleImported"
    conversation_id: Id
    """An example is a conversation of its own: `i-` and 16 hex of its content."""
    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    """As a model would get them; the last one is the user's question."""
    answer: Text
    rejected: Text | None = None
    liked: bool | None = None
    category: str = Field(default="", max_length=200)
    split: Literal["train", "holdout"] = "train"
    origin: str = Field(max_length=500)
    """File name, 12 hex of the file's SHA-256, and the line or row."""
    generator: str = Field(default="", max_length=200)
    """What made it, where no person did: an augmentation or a judge model. Empty: it stood in the file."""
    operator: Id
