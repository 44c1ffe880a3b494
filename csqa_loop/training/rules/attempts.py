"""A run and its attempts: which state it is in, when it is dead, and how long it rests before the next try."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from csqa_loop.events import (
    AdapterEvaluated,
    AdapterTrained,
    AdapterUnservable,
    TrainingFailed,
    TrainingProgress,
    TrainingRequested,
)

_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
RunState = Literal["requested", "training", "trained", "evaluating", "passed", "refused", "unservable", "failed"]


@dataclass(frozen=True)
class Run:
    """The latest run. Only events of the current attempt count: the attempt is the fencing token."""

    request: TrainingRequested
    last_sign: datetime
    progress: TrainingProgress | None = None
    trained: AdapterTrained | None = None
    failed: TrainingFailed | None = None
    evaluated: AdapterEvaluated | None = None
    unservable: AdapterUnservable | None = None

    @property
    def state(self) -> RunState:
        """Where the run stands."""
        if self.unservable:
            return "unservable"
        if self.evaluated:
            return "passed" if self.evaluated.passed else "refused"
        if self.failed:
            return "failed"
        if self.trained:
            return "evaluating" if self.progress and self.progress.stage == "evaluating" else "trained"
        return "training" if self.progress else "requested"


def pause_after(attempt: int) -> timedelta:
    """How long an attempt that failed rests before the next one: a full disk or a busy GPU may be better by then."""
    pause = _FIRST_PAUSE
    for _ in range(1, attempt):
        pause = min(4 * pause, _LONGEST_PAUSE)
    return pause
