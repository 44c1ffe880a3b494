"""A run and its attempts: which state it is in, when it is dead, and how long it rests before the next try."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from csqa_loop.events import AdapterEvaluated, AdapterTrained, AdapterUnservable, TrainingFailed, TrainingProgress, TrainingRequested

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

    def is_silent(self, as_of: datetime, timeout: timedelta) -> bool:
        """Whether its trainer is taken for dead: no event of the attempt for longer than `timeout`."""
        return as_of - self.last_sign > timeout

    @property
    def state(self) -> RunState:
        """Where the run stands."""
        return state_of(
            unservable=self.unservable is not None,
            passed=self.evaluated.passed if self.evaluated else None,
            failed=self.failed is not None,
            trained=self.trained is not None,
            stage=self.progress.stage if self.progress else None,
        )


def state_of(*, unservable: bool, passed: bool | None, failed: bool, trained: bool, stage: str | None) -> RunState:
    """Where a run stands, from the events of its last attempt.

    Args:
        unservable: its adapter was given up.
        passed: what the gate said; None: nothing yet.
        failed: the attempt failed.
        trained: its adapter is there.
        stage: of the last progress; None: there was none.
    """
    if unservable:
        return "unservable"
    if passed is not None:
        return "passed" if passed else "refused"
    if failed:
        return "failed"
    if trained:
        return "evaluating" if stage == "evaluating" else "trained"
    return "requested" if stage is None else "training"


def pause_after(attempt: int) -> timedelta:
    """How long an attempt that failed rests before the next one: a full disk or a busy GPU may be better by then."""
    pause = _FIRST_PAUSE
    for _ in range(1, attempt):
        pause = min(4 * pause, _LONGEST_PAUSE)
    return pause
