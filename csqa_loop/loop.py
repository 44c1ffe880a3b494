"""The whole loop on one page: which fact leads to which step, in which process and room, and which facts come of it.

A process reads the topics of its own steps here and no others. Facts are ordered as they follow from each other; what comes from outside (a
question, a thumb, a file, an order) begins a path.
"""

from dataclasses import dataclass
from typing import Literal

from csqa_loop import events as e

Process = Literal["gateway", "indexer", "loop", "trainer", "console", "command"]
Outside = Literal["documents", "question", "thumb", "bad case", "training data", "review", "order"]
"""What people and frontends send."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the loop."""

    on: type[e.Event] | Outside
    process: Process
    does: str
    """`room.module:name` of the use case. A name, so that no process needs the libraries of another."""
    makes: tuple[type[e.Event], ...] = ()


LOOP = (
    # Policies: from a folder to every gateway's index.
    Step("documents", "command", "knowledge.rules.publishing:plan_sync", (e.PolicyPublished, e.PolicyWithdrawn)),
    Step(e.PolicyPublished, "indexer", "knowledge.indexing:index_policy", (e.PolicyIndexed,)),
    Step(e.PolicyWithdrawn, "indexer", "knowledge.indexing:index_policy", (e.ChunksWithdrawn,)),
    Step(e.PolicyPublished, "gateway", "knowledge.index:KnowledgeIndex.apply"),
    Step(e.PolicyWithdrawn, "gateway", "knowledge.index:KnowledgeIndex.apply"),
    Step(e.PolicyIndexed, "gateway", "knowledge.index:KnowledgeIndex.apply"),
    Step(e.ChunksWithdrawn, "gateway", "knowledge.index:KnowledgeIndex.apply"),
    # A question: the arm is on record before anything is generated.
    Step("question", "gateway", "answering.answerer:Answerer.prepare", (e.ArmExposed,)),
    Step("question", "gateway", "answering.answerer:Answerer.stream", (e.AnswerGiven,)),
    # What is said about answers.
    Step("thumb", "gateway", "gateway.feedback:feedback_router", (e.FeedbackGiven,)),
    Step("bad case", "gateway", "gateway.feedback:feedback_router", (e.BadCaseReported,)),
    Step("training data", "command", "data.importing:publish", (e.ExampleImported,)),
    Step("review", "console", "evidence.review.desk:Desk.decide", (e.ReviewDecided,)),
    # Evidence: every fact is kept once, and blames, pairs and ratings follow from what is said about an answer.
    Step(e.ArmExposed, "loop", "ledger.store:Ledger.take"),
    Step(e.AnswerGiven, "loop", "evidence.derivation:Derivation.follow"),
    Step(e.FeedbackGiven, "loop", "evidence.derivation:Derivation.follow"),
    Step(e.BadCaseReported, "loop", "evidence.derivation:Derivation.follow"),
    Step(e.ExampleImported, "loop", "evidence.derivation:Derivation.follow"),
    Step(e.ReviewDecided, "loop", "evidence.derivation:Derivation.follow"),
    Step(e.AnswerProposed, "loop", "evidence.derivation:Derivation.follow"),
    Step(e.PolicyPublished, "loop", "evidence.derivation:Derivation.follow"),
    Step(e.PolicyWithdrawn, "loop", "evidence.derivation:Derivation.follow"),
    Step(e.BadCaseReported, "loop", "evidence.judge.proposer:AnswerProposer.beat", (e.AnswerProposed,)),
    # Training: enough pairs become a run, a run an adapter, an adapter an evaluation.
    Step(e.BadCaseReported, "loop", "training.planner:RunPlanner.claim", (e.TrainingRequested,)),
    Step(e.FeedbackGiven, "loop", "training.planner:RunPlanner.claim", (e.TrainingRequested,)),
    Step(e.TrainingFailed, "loop", "training.planner:RunPlanner.retry", (e.TrainingRequested,)),
    Step(
        e.TrainingRequested,
        "trainer",
        "training.trainer:Trainer.take",
        (e.TrainingProgress, e.AdapterTrained, e.AdapterEvaluated, e.TrainingFailed),
    ),
    Step(e.TrainingProgress, "loop", "rollout.decider:Decider.beat", (e.TrainingFailed,)),
    # Experiment: a gated adapter meets customers, and what they say decides.
    Step(e.AdapterTrained, "loop", "rollout.reconciler:deployment_after", (e.DeploymentChanged,)),
    Step(e.AdapterEvaluated, "loop", "experiment.examiner:opened", (e.ExperimentOpened,)),
    Step(e.AdapterEvaluated, "loop", "rollout.decider:Decider.beat", (e.AdapterUnservable,)),
    Step(e.AdapterUnservable, "loop", "rollout.reconciler:deployment_after", (e.DeploymentChanged,)),
    Step(e.FeedbackGiven, "loop", "experiment.examiner:Examiner.look", (e.ShareRaised, e.VerdictReached)),
    # Rollout: whatever is decided becomes a deployment, and every replica and gateway follows it.
    Step(e.ExperimentOpened, "loop", "rollout.reconciler:deployment_after", (e.DeploymentChanged,)),
    Step(e.ShareRaised, "loop", "rollout.reconciler:deployment_after", (e.DeploymentChanged,)),
    Step(e.VerdictReached, "loop", "rollout.reconciler:deployment_after", (e.DeploymentChanged,)),
    Step("order", "console", "rollout.rules.orders:acted", (e.OperatorActed,)),
    Step(e.OperatorActed, "loop", "rollout.reconciler:deployment_after", (e.DeploymentChanged,)),
    Step(e.DeploymentChanged, "loop", "rollout.reconciler:Reconciler.begin"),
    Step(e.DeploymentChanged, "gateway", "gateway.deployment:CurrentDeployment.apply"),
    # What cannot be taken is kept beside the log.
    Step("question", "loop", "rollout.housekeeping:Housekeeper.beat", (e.DeadLettered,)),
)


def topics_read_by(process: Process) -> tuple[str, ...]:
    """The topics whose facts lead to a step in this process, each once, in the order of the loop."""
    return tuple(dict.fromkeys(step.on.topic for step in LOOP if step.process == process and not isinstance(step.on, str)))
