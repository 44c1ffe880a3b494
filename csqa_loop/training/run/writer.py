"""The loop's side of a run directory: everything a job needs, complete before the run is requested."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import TrainingRequested
from csqa_loop.evidence.rules.pairs import Pair
from csqa_loop.training.protected import regression_phrasings
from csqa_loop.training.rules.plan import RunMethod
from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.files import CONFIG, DEMONSTRATIONS, HOLDOUT, PAIRS, REPLAY, UNFIT, UNPAIRED, RunConfig, RunRequest, parent_of
from csqa_loop.training.run.manifest import recipe_hash
from csqa_loop.training.run.rows import Demonstration, Unpaired, holdout_file, pairs_file, rows_file

_log = logging.getLogger(__name__)
_INPUTS = (PAIRS, HOLDOUT, REPLAY, UNPAIRED, DEMONSTRATIONS, CONFIG)
_OF_AN_ATTEMPT = ("manifest.json", "evaluation.json", "evaluation.html", "checkpoints", "adapter", "progress.jsonl", UNFIT)


class RunWriter:
    """A run directory in a folder that loop, trainers and vLLM share."""

    def __init__(
        self,
        runs: Path,
        config: RunConfig,
        fingerprint: Callable[[str], str] = lambda _: "",
        regression_hash: Callable[[str], str] = lambda _: "",
    ) -> None:
        """`fingerprint` of a base by its name, and `regression_hash` of the file that the gate names: as they are now, empty where unknown."""
        self._runs = runs
        self._config = config
        self._fingerprint = fingerprint
        self._regression_hash = regression_hash

    async def examined(self) -> tuple[str, ...]:
        """Questions beside held-out pairs that the gate asks: never to be trained on.

        Raises:
            PermanentError: they cannot be read.
        """
        return await asyncio.to_thread(regression_phrasings, self._config.gate.regression_file)

    def recipe_hash(self, champion: str, examples_hash: str, method: RunMethod | None) -> str:
        """16 hex over base, parent, examples, training configuration and code version."""
        config = self._config_of(champion, method)
        return recipe_hash(config.base_model, config.parent, examples_hash, config.training.model_dump_json())

    async def prepare(
        self,
        request: TrainingRequested,
        pairs: Sequence[Pair],
        holdout: Sequence[Pair],
        *,
        replay: Sequence[Pair] = (),
        unpaired: Sequence[Unpaired] = (),
        demonstrations: Sequence[Demonstration] = (),
    ) -> None:
        """Write `runs/<run_id>/`. One that is whole and was written for these examples keeps its files, checkpoints and settings, and only
        passes to the new attempt.
        """
        config = await self._pinned(self._config_of(request.champion, request.method))
        files = {PAIRS: pairs_file(pairs), HOLDOUT: holdout_file(holdout), CONFIG: _pretty(config.model_dump_json())}
        if replay:
            files[REPLAY] = pairs_file(replay)
        if unpaired:
            files[UNPAIRED] = rows_file(unpaired, Unpaired)
        if demonstrations:
            files[DEMONSTRATIONS] = rows_file(demonstrations, Demonstration)
        body = RunRequest(
            run_id=request.run_id,
            attempt=request.attempt,
            champion=request.champion,
            reason=request.reason,
            pair_ids=tuple(pair.pair_id for pair in pairs),
            holdout_pair_ids=tuple(pair.pair_id for pair in holdout),
            replay_pair_ids=tuple(pair.pair_id for pair in replay),
            data_hash=request.data_hash,
            recipe_hash=request.recipe_hash,
            files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        )
        try:
            await asyncio.to_thread(self._write, body, files)
        except OSError as error:
            msg = f"{self._runs / request.run_id} cannot be written: {error}"
            raise TransientError(msg) from error

    async def _pinned(self, config: RunConfig) -> RunConfig:
        """The configuration with hashes of the base model and the regression questions, as files of the same name may change later."""
        try:
            base = await asyncio.to_thread(self._fingerprint, config.base_model)
        except OSError as error:
            msg = f"the base model {config.base_model} cannot be read: {error}"
            raise TransientError(msg) from error
        regression_hash = await asyncio.to_thread(self._regression_hash, config.gate.regression_file)
        return config.model_copy(update={"base_fingerprint": base or config.base_fingerprint, "regression_hash": regression_hash})

    def _write(self, request: RunRequest, files: dict[str, bytes]) -> None:
        run = RunDirectory.of(self._runs, request.run_id)
        present = _whole(run)
        same = present is not None and _inputs(present) == _inputs(request)
        if present is not None and present.attempt >= request.attempt and (same or (run.path / "progress.jsonl").exists()):
            return  # a job of that attempt may be at work on it
        if present is not None and same:
            run.write("request.json", _pretty(present.model_copy(update={"attempt": request.attempt}).model_dump_json()))
            return
        if run.path.exists():
            _log.warning("%s does not hold what attempt %d is to be trained on; it is written again", run.path, request.attempt)
            # What still works for an older attempt finds no request, or the newer one, and stops.
            run.discard("request.json", *_OF_AN_ATTEMPT, *(name for name in _INPUTS if name not in files))
        run.path.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            run.write(name, content)
        run.write("request.json", _pretty(request.model_dump_json()))  # last: a directory with a request is complete

    def _config_of(self, champion: str, method: RunMethod | None) -> RunConfig:
        training = self._config.training
        training = training.model_copy(update={"method": method or training.method})
        return self._config.model_copy(update={"parent": parent_of(champion, training), "training": training})


def _whole(run: RunDirectory) -> RunRequest | None:
    """The request of a directory that is as it was requested."""
    try:
        request = run.request()
        return None if run.damage(request) else request
    except (PermanentError, OSError):
        return None


def _inputs(request: RunRequest) -> tuple[object, ...]:
    ids = (request.pair_ids, request.holdout_pair_ids, request.replay_pair_ids)
    return request.champion, request.data_hash, *(sorted(part) for part in ids)


def _pretty(body: str) -> bytes:
    return json.dumps(json.loads(body), indent=1, ensure_ascii=False).encode()
