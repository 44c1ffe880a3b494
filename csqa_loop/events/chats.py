"""What customers saw: `csqa.chats`."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from csqa_loop.events import topics
from csqa_loop.events.common import BASE, AdapterName, Arm, Event, Id, Int32, Moment, PolicyVersion, Text

_CONFIG = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class ChatMessage(BaseModel):
    """One message exactly as the model got it."""

    model_config = _CONFIG
    role: Literal["system", "user", "assistant"]
    content: str


class Citation(BaseModel):
    """A chunk that was in the prompt. Best first. `score` is the cosine similarity to the question."""

    model_config = _CONFIG
    chunk_id: Id
    policy_id: Id
    version: PolicyVersion
    section: str
    score: float


class Considered(BaseModel):
    """What each stage of retrieval said of a chunk; None where it did not look at it."""

    model_config = _CONFIG
    chunk_id: Id
    dense: float
    """Cosine similarity to the question."""
    lexical: float | None = None
    """BM25."""
    late: float | None = None
    """Mean over the question's tokens of the best cosine with one of the chunk's."""


class Looked(BaseModel):
    """What retrieval saw before an answer."""

    model_config = _CONFIG
    considered: tuple[Considered, ...] = Field(default=(), max_length=50)
    """Best first; those in the prompt are the first of them."""
    nearest: float = -1.0
    """The best cosine of all."""
    min_score: float = 0.0
    """From which on the question counted as covered."""
    with_turn_before: bool = False
    """Whether the question leaned on the turn before it and was searched together with it."""


class Sampling(BaseModel):
    """How the answer was drawn."""

    model_config = _CONFIG
    temperature: float
    top_p: float
    max_tokens: Int32 = Field(ge=0)
    seed: Annotated[int, Field(gt=-(2**63), lt=2**63)] | None = None


class Tokens(BaseModel):
    """Token counts as the model server reports them."""

    model_config = _CONFIG
    prompt: Int32 = Field(ge=0)
    completion: Int32 = Field(ge=0)


class ArmExposed(Event):
    """A user is about to see an arm. Published before generation, so that a crash cannot hide an exposure."""

    topic: ClassVar[str] = topics.CHATS
    key_field: ClassVar[str] = "conversation_id"
    type: Literal["ArmExposed"] = "ArmExposed"
    message_id: Id
    conversation_id: Id
    user: Id
    experiment: Id | None = None
    arm: Arm = "champion"
    adapter: AdapterName = BASE


class AnswerGiven(Event):
    """An answer as the customer saw it, with everything needed to reproduce and to judge it.

    `adapter` is what generated the answer, which differs from the exposed one when a replica lacked the adapter.
    """

    model_config = _CONFIG

    topic: ClassVar[str] = topics.CHATS
    key_field: ClassVar[str] = "conversation_id"
    type: Literal["AnswerGiven"] = "AnswerGiven"
    message_id: Id
    conversation_id: Id
    user: Id
    experiment: Id | None = None
    arm: Arm = "champion"
    adapter: AdapterName = BASE
    question: Text
    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    answer: Text
    source: Literal["model", "cache", "tool", "refusal"] = "model"
    citations: tuple[Citation, ...] = ()
    retrieval: Looked | None = None
    index_version: str = ""
    as_of: Moment | None = None
    prompt_version: str = ""
    sampling: Sampling | None = None
    confidence: float | None = None
    covered: bool = True
    handoff: bool = False
    latency_ms: float = Field(default=0.0, ge=0.0)
    tokens: Tokens = Tokens(prompt=0, completion=0)
