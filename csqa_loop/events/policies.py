"""What the company says: `csqa.policies`, and what is made of it: `csqa.chunks`."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from csqa_loop.events import topics
from csqa_loop.events.common import Event, Id, Int32, PolicyVersion


def _within_policy_limit(text: str) -> str:
    size = len(text.encode())
    if size > topics.MAX_POLICY_BYTES:
        msg = f"the text is {size} bytes; a policy may have {topics.MAX_POLICY_BYTES}"
        raise ValueError(msg)
    return text


class PolicyPublished(Event):
    """A policy document in a new version. Markdown; the version is 12 hex of the text's SHA-256."""

    topic: ClassVar[str] = topics.POLICIES
    key_field: ClassVar[str] = "policy_id"
    type: Literal["PolicyPublished"] = "PolicyPublished"
    policy_id: Id
    version: PolicyVersion
    title: Annotated[str, StringConstraints(max_length=500)]
    language: str = Field(default="en", max_length=16)
    text: Annotated[str, StringConstraints(min_length=1, max_length=topics.MAX_POLICY_BYTES), AfterValidator(_within_policy_limit)]


class PolicyWithdrawn(Event):
    """A policy document that must not be quoted any more. A value, not a tombstone: late readers must see it."""

    topic: ClassVar[str] = topics.POLICIES
    key_field: ClassVar[str] = "policy_id"
    type: Literal["PolicyWithdrawn"] = "PolicyWithdrawn"
    policy_id: Id
    reason: str = Field(default="", max_length=2000)


# --- csqa.chunks ---------------------------------------------------------------------------------------------------


class Chunk(BaseModel):
    """One retrievable passage of a policy, with its vector as base64 of little-endian float16."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    chunk_id: Id
    section: str
    text: str
    vector: str


class PolicyIndexed(Event):
    """All chunks of one version of one policy: a document changes at once or not at all."""

    topic: ClassVar[str] = topics.CHUNKS
    key_field: ClassVar[str] = "policy_id"
    type: Literal["PolicyIndexed"] = "PolicyIndexed"
    policy_id: Id
    version: PolicyVersion
    title: str = ""
    encoder: str
    dimension: Int32 = Field(ge=1)
    chunks: tuple[Chunk, ...]


class ChunksWithdrawn(Event):
    """The chunks of a withdrawn policy are gone."""

    topic: ClassVar[str] = topics.CHUNKS
    key_field: ClassVar[str] = "policy_id"
    type: Literal["PolicyWithdrawn"] = "PolicyWithdrawn"
    policy_id: Id
