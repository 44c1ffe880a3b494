"""An experiment: its contract, its present share, its verdict."""

from dataclasses import dataclass

from csqa_loop.events import ExperimentOpened, VerdictReached


@dataclass(frozen=True)
class Experiment:
    """The latest experiment."""

    opened: ExperimentOpened
    share: float
    verdict: VerdictReached | None = None


def experiment_id(run_id: str, attempt: int) -> str:
    """One experiment a gated attempt."""
    return f"x-{run_id.removeprefix('r-')}-{attempt}"
