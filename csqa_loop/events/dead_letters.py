"""Records that could not be taken: `csqa.dead-letters`."""

from typing import ClassVar, Literal

from pydantic import Field

from csqa_loop.events import topics
from csqa_loop.events.common import Event, Int32


class DeadLettered(Event):
    """A record that could not be taken, kept whole. `letter_id` is the SHA-256 of its topic, key and value."""

    topic: ClassVar[str] = topics.DEAD_LETTERS
    key_field: ClassVar[str] = "original_key"
    type: Literal["DeadLettered"] = "DeadLettered"
    letter_id: str
    original_topic: str
    original_key: str
    partition: Int32 = Field(ge=0)
    offset: int = Field(ge=0, lt=2**63)
    value_base64: str
    reason: str

    @property
    def key(self) -> str:
        """The original key, so that a conversation's dead letters stay in order."""
        return self.original_key
