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
class Station:
    """One step of the loop."""

    on: type[e.Event] | Outside
    process: Process
    does: str
    """`room.module:name` of the use case. A name, so that no process needs the libraries of another."""
    makes: tuple[type[e.Event], ...] = ()


LOOP = (
    # Policies: from a folder to every gateway's index.
    Station("documents", "command", "knowledge.rules.publishing:plan_sync", (e.PolicyPublished, e.PolicyWithdrawn)),
    Station(e.PolicyPublished, "indexer", "knowledge.indexing:index_policies", (e.PolicyIndexed,)),
    Station(e.PolicyWithdrawn, "indexer", "knowledge.indexing:index_policies", (e.ChunksWithdrawn,)),
    Station(e.PolicyPublished, "gateway", "knowledge.index:KnowledgeIndex.apply"),
    Station(e.PolicyWithdrawn, "gateway", "knowledge.index:KnowledgeIndex.apply"),
    Station(e.PolicyIndexed, "gateway", "knowledge.index:KnowledgeIndex.apply"),
    Station(e.ChunksWithdrawn, "gateway", "knowledge.index:KnowledgeIndex.apply"),
    # A question: the arm is on record before anything is generated.
    Station("question", "gateway", "answering.answerer:Answerer.prepare", (e.ArmExposed,)),
    Station("question", "gateway", "answering.answerer:Answerer.stream", (e.AnswerGiven,)),
    # What is said about answers.
    Station("thumb", "gateway", "gateway.feedback:feedback_router", (e.FeedbackGiven,)),
    Station("bad case", "gateway", "gateway.feedback:feedback_router", (e.BadCaseReported,)),
    Station("training data", "command", "data.importing:publish", (e.ExampleImported,)),
    Station("review", "console", "evidence.review.desk:Desk.decide", (e.ReviewDecided,)),
    # Evidence: every fact is kept once, and blames, pairs and ratings follow from what is said about an answer.
    Station(e.ArmExposed, "loop", "ledger.store:Ledger.take"),
    Station(e.AnswerGiven, "loop", "evidence.derivation:Derivation.follow"),
    Station(e.FeedbackGiven, "loop", "evidence.derivation:Derivation.follow"),
    Station(e.BadCaseReported, "loop", "evidence.derivation:Derivation.follow"),
    Station(e.ExampleImported, "loop", "evidence.derivation:Derivation.follow"),
    Station(e.ReviewDecided, "loop", "evidence.derivation:Derivation.follow"),
    Station(e.AnswerProposed, "loop", "evidence.derivation:Derivation.follow"),
    Station(e.PolicyPublished, "loop", "evidence.derivation:Derivation.follow"),
    Station(e.PolicyWithdrawn, "loop", "evidence.derivation:Derivation.follow"),
    Station(e.BadCaseReported, "loop", "evidence.judge.proposer:AnswerProposer.beat", (e.AnswerProposed,)),
    # Training: enough pairs become a run, a run an adapter, an adapter an evaluation.
    Station(e.BadCaseReported, "loop", "training.planner:RunPlanner.claim", (e.TrainingRequested,)),
    Station(e.FeedbackGiven, "loop", "training.planner:RunPlanner.claim", (e.TrainingRequested,)),
    Station(e.TrainingFailed, "loop", "training.planner:RunPlanner.retry", (e.TrainingRequested,)),
    Station(
        e.TrainingRequested,
        "trainer",
        "training.trainer:Trainer.take",
        (e.TrainingProgress, e.AdapterTrained, e.AdapterEvaluated, e.TrainingFailed),
    ),
    Station(e.TrainingProgress, "loop", "rollout.decider:Decider.beat", (e.TrainingFailed,)),
    # Experiment: a gated adapter meets customers, and what they say decides.
    Station(e.AdapterTrained, "loop", "rollout.reconciler:deployment_after", (e.DeploymentChanged,)),
    Station(e.AdapterEvaluated, "loop", "experiment.examiner:opened", (e.ExperimentOpened,)),
    Station(e.AdapterEvaluated, "loop", "rollout.decider:Decider.beat", (e.AdapterUnservable,)),
    Station(e.AdapterUnservable, "loop", "rollout.reconciler:deployment_after", (e.DeploymentChanged,)),
    Station(e.FeedbackGiven, "loop", "experiment.examiner:Examiner.look", (e.ShareRaised, e.VerdictReached)),
    # Rollout: whatever is decided becomes a deployment, and every replica and gateway follows it.
    Station(e.ExperimentOpened, "loop", "rollout.reconciler:deployment_after", (e.DeploymentChanged,)),
    Station(e.ShareRaised, "loop", "rollout.reconciler:deployment_after", (e.DeploymentChanged,)),
    Station(e.VerdictReached, "loop", "rollout.reconciler:deployment_after", (e.DeploymentChanged,)),
    Station("order", "console", "rollout.rules.orders:acted", (e.OperatorActed,)),
    Station(e.OperatorActed, "loop", "rollout.reconciler:deployment_after", (e.DeploymentChanged,)),
    Station(e.DeploymentChanged, "loop", "rollout.reconciler:Reconciler.begin"),
    Station(e.DeploymentChanged, "gateway", "gateway.deployment:CurrentDeployment.apply"),
    # Whose the log is: a loop decides on it while no later claim is in its ledger.
    Station("order", "console", "ledger.authority:Authority.claim", (e.LedgerOpened,)),
    Station(e.LedgerOpened, "loop", "ledger.authority:Authority.is_lost"),
    # What cannot be taken is kept beside the log, until a person has dealt with it.
    Station("question", "loop", "rollout.housekeeping:LetterPublisher.beat", (e.DeadLettered,)),
    Station("order", "console", "console.letters:letters_router", (e.LetterHandled,)),
    Station(e.LetterHandled, "loop", "ledger.letters:letters"),
)


def topics_read_by(process: Process) -> tuple[str, ...]:
    """The topics whose facts lead to a step in this process, each once, in the order of the loop."""
    return tuple(dict.fromkeys(step.on.topic for step in LOOP if step.process == process and not isinstance(step.on, str)))
