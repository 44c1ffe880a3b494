"""Every event of the log: a frozen fact that knows its topic and its key.

Readers ignore unknown fields; writers never send them. `type` names the event where a topic carries several.
"""

from csqa_loop.events import topics
from csqa_loop.events.chats import AnswerGiven, ArmExposed, ChatMessage, Citation, Considered, Looked, Sampling, Tokens
from csqa_loop.events.common import BASE, AdapterName, Arm, Event, Id, Moment, PolicyVersion, Share, Text, derived_id, now
from csqa_loop.events.dead_letters import DeadLettered
from csqa_loop.events.decisions import (
    ArmEstimate,
    DecisionEvent,
    ExperimentContract,
    ExperimentOpened,
    GuardrailContract,
    LedgerOpened,
    LetterHandled,
    MetricContract,
    OperatorActed,
    ShareRaised,
    Verdict,
    VerdictReached,
)
from csqa_loop.events.deployments import DeploymentChanged
from csqa_loop.events.examples import ExampleImported
from csqa_loop.events.feedback import BadCaseReported, FeedbackGiven
from csqa_loop.events.policies import Chunk, ChunksWithdrawn, PolicyIndexed, PolicyPublished, PolicyWithdrawn
from csqa_loop.events.reviews import AnswerProposed, ReviewDecided
from csqa_loop.events.training import (
    AdapterEvaluated,
    AdapterTrained,
    AdapterUnservable,
    GateCheck,
    TrainingEvent,
    TrainingFailed,
    TrainingProgress,
    TrainingRequested,
)

EVENTS: tuple[type[Event], ...] = (
    PolicyPublished, PolicyWithdrawn, PolicyIndexed, ChunksWithdrawn, ArmExposed, AnswerGiven, FeedbackGiven, BadCaseReported,
    ReviewDecided, AnswerProposed, ExampleImported,
    TrainingRequested, TrainingProgress, AdapterTrained, TrainingFailed, AdapterEvaluated, AdapterUnservable,
    ExperimentOpened, ShareRaised, VerdictReached, OperatorActed, LetterHandled, LedgerOpened, DeploymentChanged, DeadLettered,
)  # fmt: skip


def type_name(event: type[Event]) -> str:
    """The value of `type` on the wire."""
    return str(event.model_fields["type"].default)


EVENTS_OF_TOPIC: dict[str, dict[str, type[Event]]] = {
    topic: {type_name(event): event for event in EVENTS if event.topic == topic} for topic in topics.TOPICS
}

__all__ = [
    "BASE",
    "EVENTS",
    "EVENTS_OF_TOPIC",
    "AdapterEvaluated",
    "AdapterName",
    "AdapterTrained",
    "AdapterUnservable",
    "AnswerGiven",
    "AnswerProposed",
    "Arm",
    "ArmEstimate",
    "ArmExposed",
    "BadCaseReported",
    "ChatMessage",
    "Chunk",
    "ChunksWithdrawn",
    "Citation",
    "Considered",
    "DeadLettered",
    "DecisionEvent",
    "DeploymentChanged",
    "Event",
    "ExampleImported",
    "ExperimentContract",
    "ExperimentOpened",
    "FeedbackGiven",
    "GateCheck",
    "GuardrailContract",
    "Id",
    "LedgerOpened",
    "LetterHandled",
    "Looked",
    "MetricContract",
    "Moment",
    "OperatorActed",
    "PolicyIndexed",
    "PolicyPublished",
    "PolicyVersion",
    "PolicyWithdrawn",
    "ReviewDecided",
    "Sampling",
    "Share",
    "ShareRaised",
    "Text",
    "Tokens",
    "TrainingEvent",
    "TrainingFailed",
    "TrainingProgress",
    "TrainingRequested",
    "Verdict",
    "VerdictReached",
    "derived_id",
    "now",
    "type_name",
]
