"""Every event of the log: a frozen fact that knows its topic and its key.

Readers ignore unknown fields; writers never send them. `type` names the event where a topic carries several.
"""

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from csqa_loop.domain import topics

_NAMESPACE = uuid5(NAMESPACE_URL, "urn:csqa_loop:events")
BASE = "base"
"""The name of the champion that has no adapter."""

Id = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Text = Annotated[str, StringConstraints(max_length=200_000)]
PolicyVersion = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]
AdapterName = Annotated[str, StringConstraints(pattern=r"^(base|a-[0-9a-f]{16})$")]
Arm = Literal["champion", "challenger", "control"]
"""`champion` is traffic outside the experiment; `control` sees the champion and is analysed."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_to_utc)]


def _within_policy_limit(text: str) -> str:
    size = len(text.encode())
    if size > topics.MAX_POLICY_BYTES:
        msg = f"the text is {size} bytes; a policy may have {topics.MAX_POLICY_BYTES}"
        raise ValueError(msg)
    return text


def derived_id(subject: str, kind: str, attempt: int | str = 0) -> UUID:
    """UUIDv5 of what an event is about, so that deriving it twice gives one event."""
    return uuid5(_NAMESPACE, f"{subject}\n{kind}\n{attempt}")


class Event(BaseModel):
    """A fact. Frozen; equal bodies are equal facts."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    topic: ClassVar[str]
    key_field: ClassVar[str]

    schema_version: Literal[1] = 1
    type: str
    event_id: UUID = Field(default_factory=uuid4)
    occurred_at: Moment

    @property
    def key(self) -> str:
        """The Kafka message key: keeps one conversation, document or run in order."""
        return str(getattr(self, self.key_field))

    def to_json(self) -> bytes:
        """The record's value: UTF-8 JSON."""
        return self.model_dump_json().encode()


# --- csqa.policies -------------------------------------------------------------------------------------------------


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
    dimension: int = Field(gt=0)
    chunks: tuple[Chunk, ...]


class ChunksWithdrawn(Event):
    """The chunks of a withdrawn policy are gone."""

    topic: ClassVar[str] = topics.CHUNKS
    key_field: ClassVar[str] = "policy_id"
    type: Literal["PolicyWithdrawn"] = "PolicyWithdrawn"
    policy_id: Id


# --- csqa.chats ----------------------------------------------------------------------------------------------------


class ChatMessage(BaseModel):
    """One message exactly as the model got it."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    role: Literal["system", "user", "assistant"]
    content: str


class Citation(BaseModel):
    """A chunk that was in the prompt. Best first. `score` is the cosine similarity to the question."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    chunk_id: Id
    policy_id: Id
    version: PolicyVersion
    section: str
    score: float


class Sampling(BaseModel):
    """How the answer was drawn."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    temperature: float
    top_p: float
    max_tokens: int
    seed: int | None = None


class Tokens(BaseModel):
    """Token counts as the model server reports them."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    prompt: int = Field(ge=0)
    completion: int = Field(ge=0)


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
    index_version: str = ""
    as_of: Moment | None = None
    prompt_version: str = ""
    sampling: Sampling | None = None
    confidence: float | None = None
    covered: bool = True
    handoff: bool = False
    latency_ms: float = Field(default=0.0, ge=0.0)
    tokens: Tokens = Tokens(prompt=0, completion=0)


# --- csqa.feedback, csqa.bad-cases -----------------------------------------------------------------------------------


class FeedbackGiven(Event):
    """A thumb on one answer. The comment is never a correction."""

    topic: ClassVar[str] = topics.FEEDBACK
    key_field: ClassVar[str] = "conversation_id"
    type: Literal["FeedbackGiven"] = "FeedbackGiven"
    conversation_id: Id
    message_id: Id
    user: Id
    thumb: Literal["up", "down"]
    comment: str | None = Field(default=None, max_length=10_000)


class BadCaseReported(Event):
    """An agent says that an answer was bad and, where known, what should have been said."""

    topic: ClassVar[str] = topics.BAD_CASES
    key_field: ClassVar[str] = "conversation_id"
    type: Literal["BadCaseReported"] = "BadCaseReported"
    conversation_id: Id
    message_id: Id
    reason: Literal["wrong", "incomplete", "tone", "unsafe", "other"]
    corrected_answer: str | None = Field(default=None, max_length=20_000)
    reviewer: Id


# --- csqa.training -------------------------------------------------------------------------------------------------


class TrainingEvent(Event):
    """Anything said about one attempt at one run."""

    topic: ClassVar[str] = topics.TRAINING
    key_field: ClassVar[str] = "run_id"
    run_id: Id
    attempt: int = Field(ge=1)


class TrainingRequested(TrainingEvent):
    """A run is claimed: its run directory is complete and a trainer may take it."""

    type: Literal["TrainingRequested"] = "TrainingRequested"
    reason: str
    champion: AdapterName
    pair_ids: tuple[Id, ...]
    holdout_pair_ids: tuple[Id, ...] = ()
    data_hash: str
    recipe_hash: str = ""


class TrainingProgress(TrainingEvent):
    """A sign of life with what is known so far. `loss` is the training objective of the last step."""

    type: Literal["TrainingProgress"] = "TrainingProgress"
    stage: Literal["starting", "training", "evaluating"]
    step: int = Field(default=0, ge=0)
    steps: int = Field(default=0, ge=0)
    loss: float | None = None


class AdapterTrained(TrainingEvent):
    """An immutable adapter lies in `adapters/` under the name of its content."""

    type: Literal["AdapterTrained"] = "AdapterTrained"
    adapter: AdapterName
    parent: AdapterName
    recipe_hash: str
    data_hash: str
    pairs: int = Field(ge=0)
    seconds: float = Field(ge=0.0)
    first_loss: float | None = None
    """The DPO term before step 1: ln 2 when policy and reference agree."""
    metrics: dict[str, float] = Field(default_factory=dict)


class TrainingFailed(TrainingEvent):
    """The attempt ended without a usable adapter or without a gate verdict."""

    type: Literal["TrainingFailed"] = "TrainingFailed"
    stage: Literal["starting", "training", "evaluating"]
    reason: str


class GateCheck(BaseModel):
    """One comparison of the candidate with the champion on data neither was trained on."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str
    passed: bool
    champion: float | None = None
    candidate: float | None = None
    margin: float = 0.0
    n: int = Field(default=0, ge=0)
    detail: str = ""


class AdapterEvaluated(TrainingEvent):
    """The offline gate's verdict, check by check."""

    type: Literal["AdapterEvaluated"] = "AdapterEvaluated"
    adapter: AdapterName
    champion: AdapterName
    passed: bool
    checks: tuple[GateCheck, ...] = ()


# --- csqa.decisions ------------------------------------------------------------------------------------------------

Verdict = Literal["CONTINUE", "PROMOTE", "ROLL_BACK", "INCONCLUSIVE", "INVALID"]


class DecisionEvent(Event):
    """Anything decided about one experiment."""

    topic: ClassVar[str] = topics.DECISIONS
    key_field: ClassVar[str] = "experiment_id"
    experiment_id: Id


class GuardrailContract(BaseModel):
    """A metric that must not get worse by more than `margin` (in the metric's unit)."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    metric: str
    margin: float = Field(gt=0)


class ExperimentContract(BaseModel):
    """What was promised before the first user entered; it never changes during the experiment."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    primary: str
    guardrails: tuple[GuardrailContract, ...]
    alpha: float = Field(gt=0, lt=1)
    window_seconds: float = Field(gt=0)
    burn_in_users: int = Field(ge=2)
    """Users an arm before the primary may promote."""
    max_users: int = Field(ge=2)
    """Closed users an arm after which the experiment ends INCONCLUSIVE."""
    max_seconds: float = Field(gt=0)
    ramp: tuple[Share, ...] = Field(min_length=1)
    ramp_users: int = Field(ge=1)
    """Closed users an arm at the present share before it grows."""


class ExperimentOpened(DecisionEvent):
    """Champion against challenger, with the contract by which it will be judged."""

    type: Literal["ExperimentOpened"] = "ExperimentOpened"
    run_id: Id
    champion: AdapterName
    challenger: AdapterName
    salt: str
    share: Share
    contract: ExperimentContract


class ShareRaised(DecisionEvent):
    """More users enter; nobody moves between arms."""

    type: Literal["ShareRaised"] = "ShareRaised"
    share: Share


class ArmEstimate(BaseModel):
    """One metric in one arm, or the challenger's difference from control (`arm` = `difference`)."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    metric: str
    arm: Literal["challenger", "control", "difference"]
    users: int = Field(ge=0)
    numerator: float | None = None
    denominator: float | None = None
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None


class VerdictReached(DecisionEvent):
    """The experiment is over. `as_of` and `estimates` are what the verdict rests on."""

    type: Literal["VerdictReached"] = "VerdictReached"
    verdict: Literal["PROMOTE", "ROLL_BACK", "INCONCLUSIVE", "INVALID"]
    as_of: Moment
    stopped_by: str
    estimates: tuple[ArmEstimate, ...]


class OperatorActed(DecisionEvent):
    """A person decided. Every action has a name, a reason and a record."""

    type: Literal["OperatorActed"] = "OperatorActed"
    action: Literal["promote", "rollback", "pause", "resume", "stop"]
    operator: Id
    reason: str
    target: str = ""


# --- csqa.deployments ----------------------------------------------------------------------------------------------


class DeploymentChanged(Event):
    """What gateways serve from now on. The highest revision is the current one."""

    topic: ClassVar[str] = topics.DEPLOYMENTS
    key_field: ClassVar[str] = "scope"
    type: Literal["DeploymentChanged"] = "DeploymentChanged"
    scope: Literal["default"] = "default"
    revision: int = Field(ge=1)
    champion: AdapterName
    challenger: AdapterName | None = None
    candidate: AdapterName | None = None
    share: Share = 0.0
    salt: str = ""
    experiment: Id | None = None
    previous_champion: AdapterName | None = None
    cause: str = ""


# --- csqa.dead-letters ---------------------------------------------------------------------------------------------


class DeadLettered(Event):
    """A record that could not be taken, kept whole. `letter_id` is the SHA-256 of its topic, key and value."""

    topic: ClassVar[str] = topics.DEAD_LETTERS
    key_field: ClassVar[str] = "original_key"
    type: Literal["DeadLettered"] = "DeadLettered"
    letter_id: str
    original_topic: str
    original_key: str
    partition: int
    offset: int
    value_base64: str
    reason: str

    @property
    def key(self) -> str:
        """The original key, so that a conversation's dead letters stay in order."""
        return self.original_key


EVENTS: tuple[type[Event], ...] = (
    PolicyPublished, PolicyWithdrawn, PolicyIndexed, ChunksWithdrawn, ArmExposed, AnswerGiven, FeedbackGiven, BadCaseReported,
    TrainingRequested, TrainingProgress, AdapterTrained, TrainingFailed, AdapterEvaluated,
    ExperimentOpened, ShareRaised, VerdictReached, OperatorActed, DeploymentChanged, DeadLettered,
)  # fmt: skip


def type_name(event: type[Event]) -> str:
    """The value of `type` on the wire."""
    return str(event.model_fields["type"].default)


EVENTS_OF_TOPIC: dict[str, dict[str, type[Event]]] = {
    topic: {type_name(event): event for event in EVENTS if event.topic == topic} for topic in topics.TOPICS
}


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)
