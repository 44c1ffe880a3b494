"""A run directory: everything a training or evaluation job reads and writes. The loop fills it, a job is a function of it.

runs/<run_id>/
pairs.parquet  holdout.parquet  [replay.parquet  unpaired.parquet  demonstrations.parquet]  config.json
request.json                                                     last, with the hash of each of those: the run may be requested
progress.jsonl  checkpoints/  adapter/                           while the job works
manifest.json                                                    last, by rename: the run is trained
evaluation.json                                                  by rename: the gate has spoken
events/                                                          results as published, to publish them again byte for byte
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ValidationError

from csqa_loop.errors import PermanentError
from csqa_loop.files.durable import sha256_of, write_atomically
from csqa_loop.training.adapters import verify
from csqa_loop.training.protected import regression_phrasings
from csqa_loop.training.run import checks as run_checks
from csqa_loop.training.run.files import (
    CONFIG,
    DEMONSTRATIONS,
    HOLDOUT,
    PAIRS,
    REPLAY,
    UNFIT,
    UNPAIRED,
    Evaluation,
    ProgressLine,
    RunConfig,
    RunRequest,
    Unfit,
    parent_of,
)
from csqa_loop.training.run.manifest import Manifest
from csqa_loop.training.run.rows import Demonstration, PairRow, ParquetRow, Unpaired, first_problem, read

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


_T = TypeVar("_T", bound=BaseModel)
_R = TypeVar("_R", bound=ParquetRow)


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
        """The run that was requested. Raises PermanentError naming the file and field that is wrong."""
        return self._load("request.json", RunRequest)

    def config(self) -> RunConfig:
        """How to do it. Raises PermanentError naming the file and field that is wrong."""
        return self._load(CONFIG, RunConfig)

    def manifest(self) -> Manifest | None:
        """The manifest; none before the run is trained."""
        return self._load("manifest.json", Manifest) if (self.path / "manifest.json").exists() else None

    def finished_manifest(self, request: RunRequest, config: RunConfig) -> Manifest | None:
        """The manifest of the adapter that was trained for this very request, every byte of the adapter included; none before the run is trained.

        Raises:
            PermanentError: manifest.json is another run's or of other inputs, or its adapter is missing or damaged.
        """
        manifest = self.manifest()
        if manifest is None:
            return None
        requested = {"run_id": request.run_id, "data_hash": request.data_hash, "recipe_hash": request.recipe_hash, "parent": config.parent}
        for name, value in requested.items():
            if (actual := getattr(manifest, name)) != value:
                msg = f"{self.path / 'manifest.json'}: {name} is {actual!r}, and the run asks for {value!r}: it was made of something else"
                raise PermanentError(msg)
        verify(Path(config.adapters), manifest.adapter)
        return manifest

    def require_attempt(self, attempt: int) -> None:
        """Raises PermanentError where a newer attempt has taken the folder over: two must not write in it."""
        current = self.request().attempt
        if current > attempt:
            msg = f"attempt {current} has taken {self.path} over; attempt {attempt} ends here"
            raise PermanentError(msg)

    def evaluation(self) -> Evaluation | None:
        """The gate's verdict; none before the run is evaluated."""
        return self._load("evaluation.json", Evaluation) if (self.path / "evaluation.json").exists() else None

    def pairs(self) -> tuple[PairRow, ...]:
        """New pairs to train on, in the file's order."""
        return read(self.path / PAIRS, PairRow)

    def replay(self) -> tuple[PairRow, ...]:
        """Earlier pairs to repeat. A run may have none."""
        return self._read_if_there(REPLAY, PairRow)

    def unpaired(self) -> tuple[Unpaired, ...]:
        """Rated answers without a counterpart. A run may have none."""
        return self._read_if_there(UNPAIRED, Unpaired)

    def demonstrations(self) -> tuple[Demonstration, ...]:
        """Answers as they should be. A run may have none."""
        return self._read_if_there(DEMONSTRATIONS, Demonstration)

    def holdout(self) -> tuple[PairRow, ...]:
        """What to evaluate on; never trained on. A run may have none."""
        return self._read_if_there(HOLDOUT, PairRow)

    def check(self) -> tuple[RunRequest, RunConfig]:
        """Request and configuration of a folder that a job can work on.

        Raises:
            PermanentError: the folder, a file of it or a field is missing or wrong; a file is not the one that was requested; examples are
                missing or doubled; or what is held out, or nearly repeats it, would be trained on.
        """
        if not self.path.is_dir():
            msg = f"{self.path} is not a folder; the argument is a run directory such as var/runs/RUN_ID"
            raise PermanentError(msg)
        request, config = self.request(), self.config()
        if request.run_id != self.path.name:
            msg = f"{self.path / 'request.json'} is for run {request.run_id!r}; it must be for {self.path.name!r}, the folder's name"
            raise PermanentError(msg)
        parent = parent_of(request.champion, config.training)
        if config.parent != parent:
            why = "the champion of request.json" if parent == request.champion else "as an anchored run starts afresh"
            msg = f"{self.path / CONFIG}: parent is {config.parent!r}; it must be {parent!r}, {why}"
            raise PermanentError(msg)
        self._check_examples(request, config)
        if damage := self.damage(request):
            msg = f"{damage}; a run is trained on what request.json names, or not at all: let the loop write it again"
            raise PermanentError(msg)
        return request, config

    def _check_examples(self, request: RunRequest, config: RunConfig) -> None:
        pairs, replay, holdout = self.pairs(), self.replay(), self.holdout()
        trained, repeated, held_out = ([pair.pair_id for pair in part] for part in (pairs, replay, holdout))
        run_checks.require_same(self.path / PAIRS, trained, request.pair_ids)
        run_checks.require_same(self.path / REPLAY, repeated, request.replay_pair_ids)
        run_checks.require_same(self.path / HOLDOUT, held_out, request.holdout_pair_ids)
        run_checks.require_apart(self.path, (PAIRS, trained), (REPLAY, repeated), "it would count twice")
        for name, pair_ids in ((PAIRS, trained), (REPLAY, repeated)):
            run_checks.require_apart(self.path, (name, pair_ids), (HOLDOUT, held_out), "what is held out must not be trained on")
        if config.training.method == "placebo":
            return
        unpaired, demonstrations = self.unpaired(), self.demonstrations()
        if not (trained or unpaired or demonstrations):
            msg = f"{self.path / PAIRS} has no rows; at least one preference pair is needed to train"
            raise PermanentError(msg)
        parts = {PAIRS: pairs, REPLAY: replay, UNPAIRED: unpaired, DEMONSTRATIONS: demonstrations}
        examined = {HOLDOUT: [pair.question for pair in holdout]}
        if file := config.gate.regression_file:
            examined[f"the regression questions in {file}"] = list(regression_phrasings(file))
        run_checks.require_unexamined(self.path, parts, examined)

    def damage(self, request: RunRequest) -> str:
        """The first file that is not the one that was requested, and why; empty where all are."""
        present = [name for name in (PAIRS, HOLDOUT, REPLAY, UNPAIRED, DEMONSTRATIONS, CONFIG) if (self.path / name).exists()]
        for name in sorted({*present, *request.files}):
            requested = request.files.get(name)
            actual = sha256_of(self.path / name) if name in present else None
            if actual != requested:
                fault = (
                    "is missing"
                    if actual is None
                    else "was not requested"
                    if requested is None
                    else "was changed after the run was requested"
                )
                return f"{self.path / name} {fault}"
        return ""

    def unfit(self) -> tuple[str, ...]:
        """Examples that the last attempt found too long to train on."""
        return self._load(UNFIT, Unfit).names if (self.path / UNFIT).exists() else ()

    def append_progress(self, **fields: float | None) -> None:
        """One more line of `progress.jsonl`."""
        with (self.path / "progress.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(fields) + "\n")

    def last_step(self) -> ProgressLine:
        """The newest complete line of `progress.jsonl`; zeros where there is none."""
        try:
            lines = (self.path / "progress.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return ProgressLine()
        for line in reversed(lines):
            try:
                return ProgressLine.model_validate_json(line)
            except ValidationError:
                continue  # the line being written right now
        return ProgressLine()

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
            msg = f"{file}: {first_problem(error)}"
            raise PermanentError(msg) from error

    def _read_if_there(self, name: str, kind: type[_R]) -> tuple[_R, ...]:
        return read(self.path / name, kind) if (self.path / name).exists() else ()
