"""When a training run starts, on what, and why."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class TrainingReason(StrEnum):
    """Why a run is due."""

    ENOUGH_PAIRS = "enough fresh pairs"


@dataclass(frozen=True)
class Backlog:
    """What is there to train on."""

    fresh_pairs: int
    """Trainable pairs that no run has claimed."""
    users: int
    """Distinct customers behind them."""
    run_in_flight: bool
    """A run or an experiment is open."""


@dataclass(frozen=True)
class TriggerPolicy:
    """Thresholds."""

    min_pairs: int
    min_users: int = 0


def due(backlog: Backlog, policy: TriggerPolicy) -> TrainingReason | None:
    """The reason to start a run now, or None. One run or experiment at a time."""
    if backlog.run_in_flight:
        return None
    # No set of n pairs has more than n customers.
    enough = backlog.fresh_pairs >= policy.min_pairs and backlog.users >= min(policy.min_users, policy.min_pairs)
    return TrainingReason.ENOUGH_PAIRS if enough else None


def data_hash(rows: Iterable[tuple[str, str, str, str]]) -> str:
    """16 hex over (pair_id, prompt, chosen, rejected) of every pair, whatever their order."""
    digest = hashlib.sha256()
    for row in sorted(rows):
        for part in row:
            digest.update(len(part.encode()).to_bytes(8, "big") + part.encode())
    return digest.hexdigest()[:16]


def run_id(champion: str, pairs_hash: str) -> str:
    """Deterministic: the same champion and the same pairs are the same run."""
    return "r-" + hashlib.sha256(f"{champion}\n{pairs_hash}".encode()).hexdigest()[:12]
