"""Experiments, from contract to verdict: `csqa.decisions`."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from csqa_loop.events import topics
from csqa_loop.events.common import AdapterName, Event, Id, Int32, Moment, Share

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


class MetricContract(BaseModel):
    """How one metric is counted over users and read: sum of numerators / sum of denominators, or a quantile of users' own ratios."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: Id
    numerator: str
    denominator: str
    higher_is_better: bool
    kind: Literal["ratio", "mean", "proportion", "quantile"]
    """`proportion`: a user's numerator lies between 0 and their denominator. `mean`: the denominator is 1 a user."""
    quantile: float | None = Field(default=None, gt=0, lt=1)
    unit: str = ""


class ExperimentContract(BaseModel):
    """What was promised before the first user entered; it never changes during the experiment."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    primary: str
    guardrails: tuple[GuardrailContract, ...]
    alpha: float = Field(gt=0, lt=1)
    window_seconds: float = Field(gt=0)
    burn_in_users: Int32 = Field(ge=2)
    """Users an arm before the primary may promote."""
    max_users: Int32 = Field(ge=2)
    """Closed users an arm after which the experiment ends INCONCLUSIVE."""
    max_seconds: float = Field(gt=0)
    ramp: tuple[Share, ...] = Field(min_length=1)
    ramp_users: Int32 = Field(ge=1)
    """Closed users an arm at the present share before it grows."""
    metrics: tuple[MetricContract, ...] = ()
    """Every metric that is judged or reported. Contracts from before metrics were declared have none and mean the shipped ones."""
    false_discovery_target: float | None = Field(default=None, gt=0, lt=1)
    """`alpha` follows from the verdicts before, so that of all promotions at most this share is false. None: alpha stands for itself."""


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
    users: Int32 = Field(ge=0)
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


class LetterHandled(DecisionEvent):
    """A person dealt with a dead letter. Letters are named by their content, so this holds for the same bytes wherever they come again."""

    type: Literal["LetterHandled"] = "LetterHandled"
    experiment_id: Id = "none"
    letter_id: Id
    action: Literal["retry", "drop"]
    """`retry`: the original bytes were published to their topic again. `drop`: nothing is to be done about it."""
    operator: Id
    reason: Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class OperatorActed(DecisionEvent):
    """A person decided. Every action has a name, a reason and a record. `experiment_id` is the experiment that was open, else `none`."""

    type: Literal["OperatorActed"] = "OperatorActed"
    action: Literal["promote", "rollback", "pause", "resume", "stop"]
    operator: Id
    reason: str
    target: str = ""
    """promote and rollback: the adapter that is to be champion."""
    overridden: str = ""
    """What spoke against it and was overridden."""


class LedgerOpened(DecisionEvent):
    """A loop that takes the log into this ledger begins to decide. The one of the highest term that follows on the one before it is in force."""

    type: Literal["LedgerOpened"] = "LedgerOpened"
    experiment_id: Literal["ledger"] = "ledger"
    """The key of the topic: all of these lie in one partition, in one order."""
    ledger_id: Id
    """Of the folder that holds the ledger's file."""
    session: Id
    """Of the process: each start has its own."""
    term: Int32 = Field(ge=1)
    host: str = Field(max_length=300)
    folder: str = Field(max_length=4096)
    taken_over_by: str = Field(default="", max_length=200)
    """The operator who ordered this ledger to take the place of another one; empty where it is the log's own."""
    reason: str = Field(default="", max_length=2000)
