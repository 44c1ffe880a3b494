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
    """Away from a champion that a person has had enough of: one replica that holds `champion` is enough, the others are passed over."""


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
    """The same run with the next attempt: what an older attempt still says no longer counts."""

    request: TrainingRequested
    cause: str


@dataclass(frozen=True)
class FailRun:
    """Silent or failing too often: say so in the log."""

    request: TrainingRequested
    cause: str


@dataclass(frozen=True)
class GiveUp:
    """Say in the log that the adapter of this run cannot be served; nothing is tried with it any more."""

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
