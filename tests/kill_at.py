"""A process that kills itself with signal 9 at a named point of a run: `python -m tests.kill_at POINT FOLDER BASE`."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from csqa_loop import bootstrap
from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.files import CONFIG
from jobs import evaluate_adapter, train_adapter
from tests.fakes.model_server import FakeModelServer
from tests.tiny_runs import tiny_run

REPLICA = "http://fake-vllm"


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, when: Any = lambda *_, **__: True) -> None:
    """Kill at the call of `owner.name` for which `when` holds."""
    real = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        return die() if when(*arguments, **named) else real(*arguments, **named)

    setattr(owner, name, call)


def claim(folder: Path, base: str) -> None:
    before(RunDirectory, "write", lambda _, name, __: name == CONFIG)
    tiny_run(folder, base)


def train(point: str, run: RunDirectory) -> None:
    from csqa_loop.training.trl import checkpoints, lora

    match point:
        case "before the first step":
            before(checkpoints, "newest")
        case "in the middle of training":
            before(RunDirectory, "append_progress", lambda _, **fields: fields["step"] == 5)
        case "between a checkpoint and its seal":
            before(checkpoints, "seal", lambda checkpoint, _: checkpoint.name == "checkpoint-5")
        case "while the adapter is written":
            before(lora, "_in_order")
        case "before the adapter is in its place":
            before(train_adapter, "install")
        case "between the adapter and its manifest":
            before(RunDirectory, "write", lambda _, name, __: name == "manifest.json")
        case "while the manifest is written":
            before(Path, "replace", lambda _, target: Path(target).name == "manifest.json")
    train_adapter.main([str(run.path)])


def evaluate(run: RunDirectory) -> None:
    server = served(run)
    server.answer = lambda *_: "no ." if len(server.asked) < 3 else die()
    evaluate_adapter.main([str(run.path)])


def served(run: RunDirectory) -> FakeModelServer:
    """A model server that holds the run's adapter, in place of the one that the run names."""
    server = FakeModelServer(answer=lambda *_: "no .")
    made = run.manifest()
    assert made is not None
    server.held[REPLICA].add(made.adapter)
    bootstrap.build_model_server_at = lambda *_: server
    return server


if __name__ == "__main__":
    point, folder, base = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    if point == "while it is claimed":
        claim(folder, base)
    elif point == "while it is evaluated":
        evaluate(RunDirectory.of(folder / "runs", "r-1"))
    else:
        train(point, RunDirectory.of(folder / "runs", "r-1"))
