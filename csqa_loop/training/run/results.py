"""What came of an attempt at a run, as events: made from the run directory, and kept there, so that telling it twice sends the same bytes."""

import logging
from datetime import datetime
from pathlib import Path
from typing import Literal, TypedDict, TypeVar
from uuid import UUID

from csqa_loop.errors import PermanentError
from csqa_loop.events import AdapterEvaluated, AdapterTrained, TrainingEvent, TrainingFailed, TrainingRequested, derived_id, type_name
from csqa_loop.events.topics import TRAINING
from csqa_loop.events.wire import decode
from csqa_loop.training.run.directory import RunDirectory

_log = logging.getLogger(__name__)
_MAX_REASON = 2000
Stage = Literal["starting", "training", "evaluating"]
_E = TypeVar("_E", bound=TrainingEvent)
_R = TypeVar("_R")


class _Attempt(TypedDict):
    event_id: UUID
    occurred_at: datetime
    run_id: str
    attempt: int


def trained(request: TrainingRequested, run: RunDirectory, now: datetime) -> AdapterTrained:
    """The event of what train_adapter wrote.

    Raises:
        PermanentError: it left no manifest.
    """
    manifest = _required(run.manifest(), "train_adapter", run.path / "manifest.json")
    return AdapterTrained(
        **_attempt(request, AdapterTrained, now),
        adapter=manifest.adapter,
        parent=manifest.parent,
        recipe_hash=manifest.recipe_hash,
        data_hash=manifest.data_hash,
        pairs=len(manifest.pairs),
        seconds=manifest.seconds,
        first_loss=manifest.first_loss,
        metrics=manifest.metrics,
    )


def evaluated(request: TrainingRequested, run: RunDirectory, now: datetime) -> AdapterEvaluated:
    """The event of what evaluate_adapter wrote.

    Raises:
        PermanentError: it left no evaluation.
    """
    evaluation = _required(run.evaluation(), "evaluate_adapter", run.path / "evaluation.json")
    return AdapterEvaluated(
        **_attempt(request, AdapterEvaluated, now),
        adapter=evaluation.adapter,
        champion=evaluation.champion,
        passed=evaluation.passed,
        checks=evaluation.checks,
    )


def failed(request: TrainingRequested, stage: Stage, reason: str, now: datetime, *, unfit: tuple[str, ...] = ()) -> TrainingFailed:
    """Why the attempt ended without a result. With examples that are `unfit` no other attempt can do better."""
    return TrainingFailed(
        **_attempt(request, TrainingFailed, now), stage=stage, reason=reason[:_MAX_REASON], final=bool(unfit), unfit=unfit
    )


def keep(run: RunDirectory, event: _E) -> _E:
    """Keep a result; where the attempt has kept this one before, that one."""
    before = kept_result(run, type(event), event.attempt)
    if before is not None:
        return before
    try:
        (run.path / "events").mkdir(parents=True, exist_ok=True)
        run.write(_file_of(type(event), event.attempt), event.to_json())
    except OSError as error:
        # A full disk must not hide the failure that it caused.
        _log.error("%s of run %s cannot be kept: %s", event.type, event.run_id, error)
    return event


def kept_result(run: RunDirectory, kind: type[_E], attempt: int) -> _E | None:
    """The result of this kind that the attempt kept, if any.

    Raises:
        PermanentError: its file holds something else.
    """
    file = run.path / _file_of(kind, attempt)
    if not file.exists():
        return None
    event = decode(TRAINING, file.read_bytes())
    if not isinstance(event, kind):
        msg = f"{file} holds a {event.type}; it must hold a {type_name(kind)}"
        raise PermanentError(msg)
    return event


def _required(result: _R | None, job: str, file: Path) -> _R:
    if result is None:
        msg = f"{job} ended well but left no {file}"
        raise PermanentError(msg)
    return result


def _attempt(request: TrainingRequested, kind: type[TrainingEvent], now: datetime) -> _Attempt:
    return _Attempt(
        event_id=derived_id(request.run_id, type_name(kind), request.attempt),
        occurred_at=now,
        run_id=request.run_id,
        attempt=request.attempt,
    )


def _file_of(kind: type[TrainingEvent], attempt: int) -> str:
    return f"events/{type_name(kind)}-{attempt}.json"
