"""Everything that the next decision rests on."""

from dataclasses import dataclass, field
from datetime import datetime

from csqa_loop.events import DeploymentChanged
from csqa_loop.experiment.rules.experiments import Experiment
from csqa_loop.rollout.rules.operators import Interventions
from csqa_loop.training.rules.attempts import Run


@dataclass(frozen=True)
class LoopState:
    """Everything a decision rests on."""

    deployment: DeploymentChanged | None
    run: Run | None
    experiment: Experiment | None
    as_of: datetime
    operators: Interventions = field(default_factory=Interventions)
