"""What is told of an experiment: by the console, in the terminal and on a page."""

from pydantic import BaseModel, ConfigDict

from csqa_loop.events import ArmEstimate, ExperimentContract, Verdict
from csqa_loop.experiment.examiner import Examiner
from csqa_loop.experiment.rules.experiments import Experiment


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Arms(_Part):
    """Users of both arms."""

    challenger: int
    control: int


class Excluded(_Part):
    """Users who count nowhere, by reason."""

    seen_in_both_arms: int


class ExperimentStatus(_Part):
    """One experiment with its numbers: as recorded where a verdict has fallen, else as last seen.

    `n` counts users whose window has closed; estimate and bounds are of the primary metric's difference.
    """

    id: str
    run_id: str
    alpha: float
    champion: str
    challenger: str
    share: float
    n: Arms
    exposed: Arms
    excluded: Excluded
    late: Arms | None = None
    """Counted users with an answer that came after their window: not errors, and shown apart. None: this process has not looked at it."""
    estimate: float | None
    lower: float | None
    upper: float | None
    verdict: Verdict
    stopped_by: str
    as_of: str | None
    settled: bool
    """A verdict has fallen, and nothing follows from it any more."""
    estimates: tuple[ArmEstimate, ...]
    contract: ExperimentContract


async def experiment_status(examiner: Examiner, experiment: Experiment, *, settled: bool) -> ExperimentStatus:
    """What the examiner says of it. `settled` tells whether the loop has nothing left to do."""
    opened = experiment.opened
    verdict, stopped_by, as_of, estimates = examiner.seen(experiment)
    primary = {row.arm: row for row in estimates if row.metric == opened.contract.primary}
    users = {arm: row.users for arm, row in primary.items()}
    difference = primary.get("difference")
    challenger, control = await examiner.exposed(opened.experiment_id)
    late = examiner.late(opened.experiment_id)
    return ExperimentStatus(
        id=opened.experiment_id,
        run_id=opened.run_id,
        alpha=opened.contract.alpha,
        champion=opened.champion,
        challenger=opened.challenger,
        share=experiment.share,
        n=Arms(challenger=users.get("challenger", 0), control=users.get("control", 0)),
        exposed=Arms(challenger=challenger, control=control),
        excluded=Excluded(seen_in_both_arms=await examiner.in_both_arms(opened.experiment_id)),
        late=Arms(challenger=late[0], control=late[1]) if late else None,
        estimate=difference.estimate if difference else None,
        lower=difference.lower if difference else None,
        upper=difference.upper if difference else None,
        verdict=verdict,
        stopped_by=stopped_by,
        as_of=as_of.isoformat() if as_of else None,
        settled=settled and experiment.verdict is not None,
        estimates=estimates,
        contract=opened.contract,
    )
