"""Runs, adapters and the offline gate: `csqa.training`."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from csqa_loop.events import topics
from csqa_loop.events.common import AdapterName, Event, Id, Int32


class TrainingEvent(Event):
    """Anything said about one attempt at one run."""

    topic: ClassVar[str] = topics.TRAINING
    key_field: ClassVar[str] = "run_id"
    run_id: Id
    attempt: Int32 = Field(ge=1)


class TrainingRequested(TrainingEvent):
    """A run is claimed: its run directory is complete and a trainer may take it."""

    type: Literal["TrainingRequested"] = "TrainingRequested"
    reason: str
    champion: AdapterName
    pair_ids: tuple[Id, ...]
    holdout_pair_ids: tuple[Id, ...] = ()
    sources: tuple[tuple[Id, Id, Id], ...] = ()
    """(pair id, event id of the answer, event id of what is better) of every pair."""
    replay_pair_ids: tuple[Id, ...] = ()
    """Pairs of earlier runs that this one repeats."""
    example_ids: tuple[Id, ...] = ()
    """Rated answers and demonstrations: message ids, or conversation ids of imported ones. No later run takes them."""
    method: Literal["dpo", "kto", "sft", "placebo"] | None = None
    """What the loop chose. None: as the trainer's settings say."""
    data_hash: str
    recipe_hash: str = ""


class TrainingProgress(TrainingEvent):
    """A sign of life with what is known so far. `loss` is the training objective of the last step."""

    type: Literal["TrainingProgress"] = "TrainingProgress"
    stage: Literal["starting", "training", "evaluating"]
    step: Int32 = Field(default=0, ge=0)
    steps: Int32 = Field(default=0, ge=0)
    loss: float | None = None


class AdapterTrained(TrainingEvent):
    """An immutable adapter lies in `adapters/` under the name of its content."""

    type: Literal["AdapterTrained"] = "AdapterTrained"
    adapter: AdapterName
    parent: AdapterName
    recipe_hash: str
    data_hash: str
    pairs: Int32 = Field(ge=0)
    seconds: float = Field(ge=0.0)
    first_loss: float | None = None
    """The DPO term before step 1: ln 2 when policy and reference agree."""
    metrics: dict[str, float] = Field(default_factory=dict)


class TrainingFailed(TrainingEvent):
    """The attempt ended without a usable adapter or without a gate verdict."""

    type: Literal["TrainingFailed"] = "TrainingFailed"
    stage: Literal["starting", "training", "evaluating"]
    reason: str
    final: bool = False
    """Whether another attempt at the same examples would be in vain."""
    unfit: tuple[Id, ...] = ()
    """Pairs and examples that no run can train on, as they are too long: no later run takes them."""


class GateCheck(BaseModel):
    """One comparison of the candidate with the champion on data neither was trained on."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str
    passed: bool
    champion: float | None = None
    candidate: float | None = None
    margin: float = 0.0
    lower: float | None = None
    """Bounds of candidate minus champion; none where nothing was resampled, or the questions are too few to decide."""
    upper: float | None = None
    floor: float | None = None
    """One-sided lower bound (95 %) of candidate minus champion, by which being no worse is judged; none as above."""
    n: Int32 = Field(default=0, ge=0)
    detail: str = ""


class AdapterEvaluated(TrainingEvent):
    """The offline gate's verdict, check by check."""

    type: Literal["AdapterEvaluated"] = "AdapterEvaluated"
    adapter: AdapterName
    champion: AdapterName
    passed: bool
    checks: tuple[GateCheck, ...] = ()


class AdapterUnservable(TrainingEvent):
    """The gate passed the adapter and the loop gave it up before customers met it: it is lost or damaged, or a model server cannot serve it."""

    type: Literal["AdapterUnservable"] = "AdapterUnservable"
    adapter: AdapterName
    reason: str
