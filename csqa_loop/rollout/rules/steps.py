"""The steps that the loop can take."""

from dataclasses import dataclass
from uuid import UUID

from csqa_loop.events import TrainingRequested
from csqa_loop.experiment.rules.experiments import Experiment


@dataclass(frozen=True)
class Deploy:
    """Publish this deployment (event_id and occurred_at are the caller's)."""

    champion: str
    cause: str
    challenger: str | None = None
    candidate: str | None = None
    share: float = 0.0
    salt: str = ""
    experiment: str | None = None
    previous_champion: str | None = None
    order: UUID | None = None
    """The operator's order that this carries out."""
    retreat: bool = False
    """Set where a person orders the present champion replaced: one replica that holds `champion` suffices, the others are passed over."""


@dataclass(frozen=True)
class OpenExperiment:
    """The gate passed: publish ExperimentOpened for this run, once the candidate is resident everywhere."""

    run_id: str
    champion: str
    challenger: str


@dataclass(frozen=True)
class JudgeExperiment:
    """Look at the open experiment. Unless it `may_advance`, the challenger gets no more traffic than it has."""

    experiment: Experiment
    may_advance: bool = True


@dataclass(frozen=True)
class EndExperiment:
    """An operator ends it: INCONCLUSIVE, with the numbers as they stand."""

    experiment: Experiment
    stopped_by: str


@dataclass(frozen=True)
class RetryRun:
    """The same run with the next attempt: events of older attempts no longer count."""

    request: TrainingRequested
    cause: str


@dataclass(frozen=True)
class FailRun:
    """The run was silent or failed too often: publish that it failed."""

    request: TrainingRequested
    cause: str


@dataclass(frozen=True)
class GiveUp:
    """Publish that the adapter of this run cannot be served; no further step uses it."""

    request: TrainingRequested
    adapter: str
    reason: str


@dataclass(frozen=True)
class LookForWork:
    """Nothing is in flight: a run may be due."""


@dataclass(frozen=True)
class Wait:
    """Nothing is to be done here until something else has happened."""

    on: str


Step = Deploy | OpenExperiment | JudgeExperiment | EndExperiment | RetryRun | FailRun | GiveUp | LookForWork | Wait
