"""When a training run starts, on what, and why."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

Schedule = Literal["when_due", "daily", "weekly"]


class TrainingReason(StrEnum):
    """Why a run is due."""

    ENOUGH_PAIRS = "enough fresh pairs"
    OLD_PAIRS = "the oldest fresh pair has waited long enough"
    SCHEDULED = "the first run of its day or week"


@dataclass(frozen=True)
class Backlog:
    """What there is to train on."""

    fresh_pairs: int
    """Trainable pairs that no run has claimed."""
    users: int
    """Distinct customers behind them."""
    oldest: datetime | None = None
    """When the first of them came."""
    last_run: datetime | None = None
    """When a run was last asked for."""


@dataclass(frozen=True)
class TriggerPolicy:
    """Thresholds, or a schedule instead."""

    min_pairs: int
    min_users: int = 0
    fewest_pairs: int = 1
    """Pairs that start a run by age or schedule, where that is less than `min_pairs`."""
    max_age: timedelta | None = None
    """Age of the oldest pair from which `fewest_pairs` are enough."""
    schedule: Schedule = "when_due"
    """Daily, weekly: at most one run a UTC day or ISO week, from `fewest_pairs` on."""

    @property
    def fewest(self) -> int:
        """The smallest set that any rule lets start a run."""
        late = self.max_age is not None or self.schedule != "when_due"
        return min(self.min_pairs, self.fewest_pairs) if late else self.min_pairs


def due(backlog: Backlog, policy: TriggerPolicy, now: datetime) -> TrainingReason | None:
    """The reason to start a run now, or None."""

    def holds(pairs: int) -> bool:
        # No set of n pairs has more than n customers.
        return backlog.fresh_pairs >= pairs and backlog.users >= min(policy.min_users, pairs)

    if policy.schedule != "when_due":
        # Later, not other: a clock that was set back begins no day anew.
        fresh_period = backlog.last_run is None or _period(backlog.last_run, policy.schedule) < _period(now, policy.schedule)
        return TrainingReason.SCHEDULED if fresh_period and holds(policy.fewest) else None
    if holds(policy.min_pairs):
        return TrainingReason.ENOUGH_PAIRS
    waited = policy.max_age is not None and backlog.oldest is not None and now - backlog.oldest >= policy.max_age
    return TrainingReason.OLD_PAIRS if waited and holds(policy.fewest) else None


def _period(moment: datetime, schedule: Schedule) -> tuple[int, ...]:
    day = moment.astimezone(UTC).date()
    return (day.toordinal(),) if schedule == "daily" else tuple(day.isocalendar())[:2]


def data_hash(rows: Iterable[tuple[str, str, str, str]]) -> str:
    """16 hex over (pair_id, prompt, chosen, rejected) of every pair, whatever their order."""
    digest = hashlib.sha256()
    for row in sorted(rows):
        for part in row:
            digest.update(len(part.encode()).to_bytes(8, "big") + part.encode())
    return digest.hexdigest()[:16]


def run_id(champion: str, pairs_hash: str, after: str = "") -> str:
    """Deterministic: the same champion and the same pairs are the same run. `after`: the failed run before it, as pairs of a failed run may
    come together once more.
    """
    return "r-" + hashlib.sha256("\n".join([champion, pairs_hash, *filter(None, [after])]).encode()).hexdigest()[:12]
