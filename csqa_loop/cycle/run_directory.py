"""A run directory: everything a training or evaluation job reads and writes. The loop fills it, a job is a function of it.

runs/<run_id>/
request.json  config.json  pairs.parquet  holdout.parquet        written by the loop before the run is requested
progress.jsonl  checkpoints/  adapter/                           while the job works
manifest.json                                                    last, by rename: the run is trained
evaluation.json                                                  by rename: the gate has spoken
events/                                                          results as published, to publish them again byte for byte
"""

import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from csqa_loop.domain.errors import PermanentError
from csqa_loop.domain.events import BASE, AdapterName, ChatMessage, GateCheck
from csqa_loop.settings import GateSettings, TrainingSettings

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


_T = TypeVar("_T", bound=BaseModel)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RunRequest(_File):
    """`request.json`: what was asked for."""

    run_id: str = Field(min_length=1)
    champion: AdapterName
    pair_ids: tuple[str, ...]
    holdout_pair_ids: tuple[str, ...] = ()
    data_hash: str
    recipe_hash: str


class RunConfig(_File):
    """`config.json`: how to do it. Paths are absolute, so that a job may start anywhere."""

    base_model: str = Field(min_length=1)
    """Folder or hub name of the base model, exactly as vLLM was given it."""
    parent: AdapterName = BASE
    """The champion to continue from."""
    adapters: str = Field(min_length=1)
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()
    model_server_urls: tuple[str, ...] = ()


class Pair(_File):
    """One row of `pairs.parquet` or `holdout.parquet`: a prompt exactly as the model got it, a better answer and a worse one."""

    pair_id: str = Field(min_length=1)
    question: str
    prompt: tuple[ChatMessage, ...] = Field(min_length=1)
    chosen: str = Field(min_length=1)
    rejected: str
    policy_id: str = ""
    section: str = ""
    message_id: str = ""
    evidence_event_id: str = ""
    answer_event_id: str = ""
    source: str = ""
    weight: float = Field(default=1.0, ge=0)

    @field_validator("prompt", mode="before")
    @classmethod
    def _parse_json(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value


class PairSource(_File):
    """Where a trained pair came from: the log's events that led to it."""

    pair_id: str
    message_id: str
    answer_event_id: str
    evidence_event_id: str


class Manifest(_File):
    """`manifest.json`: what an adapter is made of. It exists only for a finished run."""

    run_id: str
    adapter: AdapterName
    base: str
    parent: AdapterName
    recipe_hash: str
    data_hash: str
    pairs: tuple[PairSource, ...]
    config: dict[str, Any]
    seed: int
    versions: dict[str, str]
    metrics: dict[str, float]
    first_loss: float | None
    """The DPO term before step 1; none for a placebo, which takes no step."""
    seconds: float


class Evaluation(_File):
    """`evaluation.json`: the offline gate's verdict on one adapter against one champion."""

    run_id: str
    adapter: AdapterName
    champion: AdapterName
    passed: bool
    checks: tuple[GateCheck, ...]
    seconds: float


class Step(_File):
    """The last line of `progress.jsonl`."""

    step: int = 0
    steps: int = 0
    loss: float | None = None


@dataclass(frozen=True)
class RunDirectory:
    """One run's folder."""

    path: Path

    @classmethod
    def of(cls, runs: Path, run_id: str) -> Self:
        """The folder of `run_id` under `runs`.

        Raises:
            PermanentError: the id cannot be a folder's name.
        """
        if not _SAFE_NAME.fullmatch(run_id):
            msg = f"run id {run_id!r} cannot be a folder's name; it may hold letters, digits, '.', '_' and '-' and starts with a letter or digit"
            raise PermanentError(msg)
        return cls(runs / run_id)

    def request(self) -> RunRequest:
        """What was asked for. Raises PermanentError naming the file and field that is wrong."""
        return self._load("request.json", RunRequest)

    def config(self) -> RunConfig:
        """How to do it. Raises PermanentError naming the file and field that is wrong."""
        return self._load("config.json", RunConfig)

    def manifest(self) -> Manifest | None:
        """What was made; none before the run is trained."""
        return self._load("manifest.json", Manifest) if (self.path / "manifest.json").exists() else None

    def evaluation(self) -> Evaluation | None:
        """The gate's verdict; none before it has spoken."""
        return self._load("evaluation.json", Evaluation) if (self.path / "evaluation.json").exists() else None

    def pairs(self) -> tuple[Pair, ...]:
        """What to train on, in the file's order."""
        return self._load_pairs("pairs.parquet")

    def holdout(self) -> tuple[Pair, ...]:
        """What to evaluate on; never trained on. A run may have none."""
        return self._load_pairs("holdout.parquet") if (self.path / "holdout.parquet").exists() else ()

    def check(self) -> tuple[RunRequest, RunConfig]:
        """Request and configuration of a folder that a job can work on.

        Raises:
            PermanentError: the folder, a file of it or a field is missing or wrong; or pairs are missing, doubled or also held out.
        """
        if not self.path.is_dir():
            msg = f"{self.path} is not a folder; the argument is a run directory such as var/runs/RUN_ID"
            raise PermanentError(msg)
        request, config = self.request(), self.config()
        if request.run_id != self.path.name:
            msg = f"{self.path / 'request.json'} is for run {request.run_id!r}; it must be for {self.path.name!r}, the folder's name"
            raise PermanentError(msg)
        if config.parent != request.champion:
            msg = f"{self.path / 'config.json'}: parent is {config.parent!r}; it must be {request.champion!r}, the champion of request.json"
            raise PermanentError(msg)
        trained = [pair.pair_id for pair in self.pairs()]
        self._require_same("pairs.parquet", trained, request.pair_ids)
        held_out = [pair.pair_id for pair in self.holdout()]
        self._require_same("holdout.parquet", held_out, request.holdout_pair_ids)
        both = sorted(set(trained) & set(held_out))
        if both:
            msg = f"{self.path}: pair {both[0]!r} is in pairs.parquet and in holdout.parquet; what is held out must not be trained on"
            raise PermanentError(msg)
        if not trained and config.training.method == "dpo":
            msg = f"{self.path / 'pairs.parquet'} has no rows; at least one preference pair is needed to train"
            raise PermanentError(msg)
        return request, config

    def append_progress(self, **fields: float | None) -> None:
        """One more line of `progress.jsonl`."""
        with (self.path / "progress.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(fields) + "\n")

    def last_step(self) -> Step:
        """The newest complete line of `progress.jsonl`; zeros where there is none."""
        try:
            lines = (self.path / "progress.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return Step()
        for line in reversed(lines):
            try:
                return Step.model_validate_json(line)
            except ValidationError:
                continue  # the line being written right now
        return Step()

    def write(self, name: str, body: bytes) -> None:
        """`name` whole or not at all, and on disk when this returns."""
        write_atomically(self.path / name, body)

    def discard(self, *names: str) -> None:
        """Remove what an attempt that did not finish left behind."""
        for name in names:
            target = self.path / name
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)

    def _load(self, name: str, kind: type[_T]) -> _T:
        file = self.path / name
        try:
            return kind.model_validate_json(file.read_bytes())
        except FileNotFoundError as error:
            msg = f"{file} is missing; the loop writes it before it requests the run"
            raise PermanentError(msg) from error
        except ValidationError as error:
            msg = f"{file}: {_first_problem(error)}"
            raise PermanentError(msg) from error

    def _load_pairs(self, name: str) -> tuple[Pair, ...]:
        import pyarrow as pa
        from pyarrow import parquet

        file = self.path / name
        try:
            rows = parquet.read_table(file).to_pylist()
        except FileNotFoundError as error:
            msg = f"{file} is missing; the loop writes it before it requests the run"
            raise PermanentError(msg) from error
        except (pa.ArrowInvalid, OSError) as error:
            msg = f"{file} is not a Parquet file of preference pairs: {error}"
            raise PermanentError(msg) from error
        pairs = []
        for number, row in enumerate(rows):
            try:
                pairs.append(Pair.model_validate({name: value for name, value in row.items() if value is not None}))
            except (ValidationError, ValueError) as error:
                problem = _first_problem(error) if isinstance(error, ValidationError) else str(error)
                msg = f"{file}, row {number}: {problem}"
                raise PermanentError(msg) from error
        return tuple(pairs)

    def _require_same(self, name: str, found: list[str], asked: Iterable[str]) -> None:
        twice = sorted({pair_id for pair_id in found if found.count(pair_id) > 1})
        if twice:
            msg = f"{self.path / name}: pair {twice[0]!r} is there more than once"
            raise PermanentError(msg)
        differing = sorted(set(found) ^ set(asked))
        if differing:
            side = "is not in request.json" if differing[0] in found else "of request.json is missing"
            msg = f"{self.path / name}: pair {differing[0]!r} {side} ({len(differing)} differ in all)"
            raise PermanentError(msg)


def write_atomically(file: Path, body: bytes) -> None:
    """Write beside, sync, rename, sync the folder: a reader sees the old file or the whole new one, also after a crash."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with draft.open("wb") as handle:
            handle.write(body)
            handle.flush()
            os.fsync(handle.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=True)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the body"
    return f"{where} is {str(first.get('input'))[:80]!r}: {first['msg']}"
