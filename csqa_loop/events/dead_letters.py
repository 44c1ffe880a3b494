"""Records that could not be taken: `csqa.dead-letters`."""

from typing import ClassVar, Literal

from pydantic import Field

from csqa_loop.events import topics
from csqa_loop.events.common import Event, Int32


class DeadLettered(Event):
    """A record that could not be taken, or the beginning of a large one. `letter_id` is the SHA-256 of its topic, key and value."""

    topic: ClassVar[str] = topics.DEAD_LETTERS
    key_field: ClassVar[str] = "original_key"
    type: Literal["DeadLettered"] = "DeadLettered"
    letter_id: str
    original_topic: str
    original_key: str
    """As text, replacement characters for what is no UTF-8; the beginning where the key is long."""
    partition: Int32 = Field(ge=0)
    offset: int = Field(ge=0, lt=2**63)
    value_base64: str
    """The value, or where `cut` its beginning."""
    value_bytes: int | None = Field(default=None, ge=0, lt=2**63)
    """Size of the whole value. Letters from before it was said have none."""
    value_sha256: str = ""
    """64 hex of the whole value."""
    cut: bool = False
    """Whether the record is large: all of it lies at its place in the original topic."""
    reason: str

    @property
    def key(self) -> str:
        """The original key, so that a conversation's dead letters stay in order."""
        return self.original_key
