"""Jobs that end when a test says so."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.files import Evaluation
from csqa_loop.training.run.manifest import Manifest
from tests.waiting import eventually

ADAPTER = "a-" + "1" * 16


@dataclass
class FakeChild:
    """Ends with `code` when told to."""

    job: str
    run: RunDirectory
    code: int = 0
    last_words: str = ""
    killed: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> int:
        await self.done.wait()
        return -15 if self.killed else self.code

    async def kill(self) -> None:
        self.killed = self.killed or not self.done.is_set()
        self.done.set()

    def succeed(self) -> None:
        """As the real jobs do: the result file first, then the end."""
        run_id = self.run.path.name
        if self.job == "train_adapter":
            manifest = Manifest(
                run_id=run_id, adapter=ADAPTER, base="/model", parent="base", recipe_hash="c", data_hash="d", pairs=(), config={}, seed=0,
                versions={}, metrics={"steps": 3.0}, first_loss=0.6931, seconds=1.0,
            )  # fmt: skip
            self.run.write("manifest.json", manifest.model_dump_json().encode())
        else:
            evaluation = Evaluation(run_id=run_id, adapter=ADAPTER, champion="base", passed=True, checks=(), seconds=1.0)
            self.run.write("evaluation.json", evaluation.model_dump_json().encode())
        self.done.set()

    def fail(self, code: int, words: str) -> None:
        self.code, self.last_words = code, words
        self.done.set()


class FakeLauncher:
    def __init__(self) -> None:
        self.children: list[FakeChild] = []

    async def launch(self, job: str, run_dir: Path) -> FakeChild:
        self.children.append(FakeChild(job, RunDirectory(run_dir)))
        return self.children[-1]

    async def child(self, number: int, seconds: float = 15.0) -> FakeChild:
        await eventually(lambda: len(self.children) > number, f"child {number} is started", seconds)
        return self.children[number]
