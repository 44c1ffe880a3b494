"""The trainer: requests become children, children become events."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from csqa_loop.events import AdapterEvaluated, AdapterTrained, TrainingFailed, TrainingProgress
from csqa_loop.training.trainer import Trainer
from tests.fakes.bus import MemoryBus
from tests.fakes.jobs import ADAPTER, FakeLauncher
from tests.run_directories import NOW, requested
from tests.waiting import eventually


@dataclass
class Desk:
    """A trainer with its fakes."""

    bus: MemoryBus
    launcher: FakeLauncher
    runs: Path
    make: Callable[[], Trainer]
    trainer: Trainer


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    bus, launcher, made = MemoryBus(), FakeLauncher(), []

    def make() -> Trainer:
        made.append(Trainer(bus, launcher, tmp_path, progress_seconds=0.02, stall_seconds=30.0, clock=lambda: NOW))
        return made[-1]

    for run_id in ("r-1", "r-2"):
        (tmp_path / run_id).mkdir()
    yield Desk(bus, launcher, tmp_path, make, make())
    for trainer in made:
        await trainer.close()


async def idle(trainer: Trainer) -> None:
    await eventually(lambda: trainer.current is None, "the run in hand has its result")


async def _finish(desk: Desk, first: int = 0) -> None:
    (await desk.launcher.child(first)).succeed()
    (await desk.launcher.child(first + 1)).succeed()
    await idle(desk.trainer)


async def test_a_request_is_trained_evaluated_and_told(desk: Desk) -> None:
    await desk.trainer.take(requested("r-1", 3))
    child = await desk.launcher.child(0)
    assert not child.done.is_set()  # take() returned while the child runs: the request may be acknowledged
    assert (desk.trainer.current.run_id, desk.trainer.current.attempt) == ("r-1", 3)
    child.run.append_progress(step=2, steps=6, loss=0.5)
    await eventually(lambda: any(e.step == 2 for e in desk.bus.of_type(TrainingProgress)), "progress is published")
    await _finish(desk)
    assert [child.job for child in desk.launcher.children] == ["train_adapter", "evaluate_adapter"]
    trained, evaluated = desk.bus.of_type(AdapterTrained), desk.bus.of_type(AdapterEvaluated)
    assert [(e.adapter, e.attempt, e.first_loss) for e in trained] == [(ADAPTER, 3, 0.6931)]
    assert [(e.adapter, e.attempt, e.passed) for e in evaluated] == [(ADAPTER, 3, True)]
    assert desk.bus.of_type(TrainingProgress)[0].stage == "starting"
    assert desk.bus.of_type(TrainingFailed) == []
    assert desk.trainer.current is None


async def test_a_request_read_again_starts_nothing(desk: Desk) -> None:
    await desk.trainer.take(requested())
    await desk.trainer.take(requested())
    await _finish(desk)
    await desk.trainer.take(requested())
    assert len(desk.launcher.children) == 2


async def test_a_restarted_trainer_sends_a_finished_attempt_again_byte_for_byte(desk: Desk) -> None:
    await desk.trainer.take(requested())
    await _finish(desk)
    before = {record.value for record in desk.bus.records if b"Progress" not in record.value}
    await desk.trainer.close()
    desk.trainer = desk.make()
    await desk.trainer.take(requested())
    await idle(desk.trainer)
    assert {record.value for record in desk.bus.records if b"Progress" not in record.value} == before
    assert len(desk.bus.of_type(AdapterTrained)) == 2
    assert len(desk.launcher.children) == 2


async def test_a_newer_attempt_kills_the_older_child_and_its_results(desk: Desk) -> None:
    await desk.trainer.take(requested("r-1", 1))
    await desk.trainer.take(requested("r-1", 2))
    old, new = desk.launcher.children
    assert old.killed
    assert not new.killed
    await _finish(desk, first=1)
    assert [e.attempt for e in desk.bus.of_type(AdapterTrained)] == [2]
    assert desk.bus.of_type(TrainingFailed) == []
    await desk.trainer.take(requested("r-1", 1))  # an old request, read late
    assert len(desk.launcher.children) == 3


async def test_another_run_takes_over(desk: Desk) -> None:
    await desk.trainer.take(requested("r-1"))
    await desk.trainer.take(requested("r-2"))
    assert desk.launcher.children[0].killed
    assert desk.trainer.current.run_id == "r-2"


@pytest.mark.parametrize(
    ("code", "words", "reason"),
    [
        (1, "train_adapter: the disk is full", "train_adapter: the disk is full"),
        (-9, "INFO loading", "train_adapter was killed by signal 9; the machine may be out of memory"),
        (
            -6,
            "terminate called after throwing an instance of 'std::bad_alloc'",
            "signal 6; the machine may be out of memory; its last words",
        ),
        (1, "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.", "giving up.; the machine may be out of memory"),
        (1, "OSError: [Errno 28] No space left on device", "left on device; the disk may be full"),
        (2, "", "exit code 2 without a word"),
    ],
)
async def test_a_failed_child_is_told_with_its_last_words(desk: Desk, code: int, words: str, reason: str) -> None:
    await desk.trainer.take(requested())
    (await desk.launcher.child(0)).fail(code, words)
    await idle(desk.trainer)
    (failed,) = desk.bus.of_type(TrainingFailed)
    assert reason in failed.reason
    assert (failed.stage, failed.attempt) == ("training", 1)
    assert desk.bus.of_type(AdapterTrained) == []


async def test_examples_that_are_too_long_are_named_and_end_the_run(desk: Desk) -> None:
    await desk.trainer.take(requested())
    child = await desk.launcher.child(0)
    child.run.write("unfit.json", b'{"names": ["p-1", "m9"]}')
    child.fail(1, "2 of 9 examples are longer than the model's window")
    await idle(desk.trainer)
    (failed,) = desk.bus.of_type(TrainingFailed)
    assert (failed.final, failed.unfit) == (True, ("p-1", "m9"))


async def test_a_failed_gate_keeps_the_adapter_and_names_the_stage(desk: Desk) -> None:
    await desk.trainer.take(requested())
    (await desk.launcher.child(0)).succeed()
    (await desk.launcher.child(1)).fail(1, "evaluate_adapter: no model server can answer")
    await idle(desk.trainer)
    assert len(desk.bus.of_type(AdapterTrained)) == 1
    assert [(e.stage, e.reason) for e in desk.bus.of_type(TrainingFailed)] == [
        ("evaluating", "evaluate_adapter: no model server can answer")
    ]


async def test_a_child_that_leaves_no_result_has_failed(desk: Desk) -> None:
    await desk.trainer.take(requested())
    (await desk.launcher.child(0)).done.set()
    await idle(desk.trainer)
    assert "left no" in desk.bus.of_type(TrainingFailed)[0].reason


async def test_a_missing_run_directory_is_told(desk: Desk) -> None:
    await desk.trainer.take(requested("r-9"))
    await idle(desk.trainer)
    (failed,) = desk.bus.of_type(TrainingFailed)
    assert "is missing: loop and trainer must share" in failed.reason
    assert desk.launcher.children == []


async def test_a_run_id_that_is_no_folder_is_told(desk: Desk) -> None:
    await desk.trainer.take(requested("../r-1"))
    assert "cannot be a folder's name" in desk.bus.of_type(TrainingFailed)[0].reason
    assert desk.launcher.children == []


async def test_a_log_that_is_down_delays_results_and_loses_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csqa_loop.training.trainer._RETRY_SECONDS", 0.01)
    await desk.trainer.take(requested())
    desk.bus.fail(5)
    await _finish(desk)
    assert len(desk.bus.of_type(AdapterTrained)) == 1
    assert len(desk.bus.of_type(AdapterEvaluated)) == 1


async def test_a_child_that_stands_still_is_killed(desk: Desk) -> None:
    trainer = Trainer(desk.bus, desk.launcher, desk.runs, progress_seconds=0.01, stall_seconds=0.05, clock=lambda: NOW)
    await trainer.take(requested())
    await idle(trainer)
    assert desk.launcher.children[0].killed
    assert "no step was made for 0.05 s" in desk.bus.of_type(TrainingFailed)[0].reason


async def test_closing_kills_the_child_and_tells_nothing(desk: Desk) -> None:
    await desk.trainer.take(requested())
    await desk.trainer.close()
    assert desk.launcher.children[0].killed
    assert desk.bus.of_type(TrainingFailed) == []


async def test_other_events_are_ignored(desk: Desk) -> None:
    await desk.trainer.take(TrainingProgress(occurred_at=NOW, run_id="r-1", attempt=1, stage="training"))
    assert desk.launcher.children == []
    assert desk.bus.records == []
