"""States of the loop: a run, a gated adapter, an experiment, as the ledger tells them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from csqa_loop import events as e
from csqa_loop.experiment.rules.experiments import Experiment
from csqa_loop.rollout.rules.next_step import next_step
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.rollout.rules.steps import Step
from csqa_loop.training.rules.attempts import Run

T0 = datetime(2026, 5, 4, tzinfo=UTC)
OLD, NEW = "a-00000000000000aa", "a-00000000000000bb"
CONTRACT = e.ExperimentContract(
    primary="satisfaction",
    guardrails=(),
    alpha=0.05,
    window_seconds=1,
    burn_in_users=10,
    max_users=99,
    max_seconds=99,
    ramp=(0.4, 1.0),
    ramp_users=5,
)
REQUEST = e.TrainingRequested(occurred_at=T0, run_id="r-1", attempt=1, reason="enough", champion=OLD, pair_ids=("p",), data_hash="h")
RUN = Run(request=REQUEST, last_sign=T0)
OF_RUN = {"occurred_at": T0, "run_id": "r-1", "attempt": 1}
PROGRESS = e.TrainingProgress(stage="training", **OF_RUN)
TRAINED = e.AdapterTrained(adapter=NEW, parent=OLD, recipe_hash="x", data_hash="h", pairs=1, seconds=1, **OF_RUN)
FAILED = e.TrainingFailed(stage="training", reason="out of memory", **OF_RUN)
PASSED = e.AdapterEvaluated(adapter=NEW, champion=OLD, passed=True, **OF_RUN)
REFUSED = PASSED.model_copy(update={"passed": False})
OPENED = e.ExperimentOpened(
    occurred_at=T0, experiment_id="x-1-1", run_id="r-1", champion=OLD, challenger=NEW, salt="s", share=0.4, contract=CONTRACT
)
OPEN = Experiment(opened=OPENED, share=0.4)


def deployed(champion=OLD, **more) -> e.DeploymentChanged:
    return e.DeploymentChanged(occurred_at=T0, revision=3, champion=champion, **more)


GATED = replace(RUN, trained=TRAINED, evaluated=PASSED)
ON_TRIAL = deployed(challenger=NEW, share=0.4, salt="s", experiment="x-1-1")


def verdict(name) -> e.VerdictReached:
    return e.VerdictReached(occurred_at=T0, experiment_id="x-1-1", verdict=name, as_of=T0, stopped_by="why", estimates=())


def step(deployment, run=None, experiment=None, *, later: float = 1.0, max_attempts: int = 3) -> Step:
    state = LoopState(deployment=deployment, run=run, experiment=experiment, as_of=T0 + timedelta(seconds=later))
    return next_step(state, progress_timeout=timedelta(seconds=300), max_attempts=max_attempts)
