"""The loop's side of a run directory: everything a job needs, complete before the run is requested."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from csqa_loop.cycle.manifest import recipe_hash
from csqa_loop.cycle.run_directory import CONFIG, DEMONSTRATIONS, HOLDOUT, PAIRS, REPLAY, UNPAIRED, RunConfig, RunDirectory, RunRequest
from csqa_loop.cycle.run_rows import Demonstration, Unpaired, pairs_file, rows_file
from csqa_loop.domain.errors import TransientError
from csqa_loop.domain.events import BASE, TrainingRequested
from csqa_loop.domain.plan import RunMethod
from csqa_loop.domain.preferences import Pair


class RunWriter:
    """`ports.RunDirectories` on a folder that loop, trainers and vLLM share."""

    def __init__(self, runs: Path, config: RunConfig, *, regression_hash: Callable[[str], str] = lambda _: "") -> None:
        """`regression_hash` gives `RunConfig.regression_hash` of the file that the gate names, as it is now."""
        self._runs = runs
        self._config = config
        self._regression_hash = regression_hash

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
        """Write `runs/<run_id>/`; a directory whose request is already there is left as it is: a job may be reading it."""
        claimed = {"regression_hash": await asyncio.to_thread(self._regression_hash, self._config.gate.regression_file)}
        config = self._config_of(request.champion, request.method).model_copy(update=claimed)
        files = {PAIRS: pairs_file(pairs), HOLDOUT: pairs_file(holdout), CONFIG: _pretty(config.model_dump_json())}
        if replay:
            files[REPLAY] = pairs_file(replay)
        if unpaired:
            files[UNPAIRED] = rows_file(unpaired, Unpaired)
        if demonstrations:
            files[DEMONSTRATIONS] = rows_file(demonstrations, Demonstration)
        body = RunRequest(
            run_id=request.run_id,
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

    def _write(self, request: RunRequest, files: dict[str, bytes]) -> None:
        run = RunDirectory.of(self._runs, request.run_id)
        if (run.path / "request.json").exists():
            return
        run.path.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            run.write(name, content)
        run.write("request.json", _pretty(request.model_dump_json()))  # last: a directory with a request is complete

    def _config_of(self, champion: str, method: RunMethod | None) -> RunConfig:
        training = self._config.training
        parent = champion if training.mode == "incremental" else BASE
        return self._config.model_copy(
            update={"parent": parent, "training": training.model_copy(update={"method": method or training.method})}
        )


def _pretty(body: str) -> bytes:
    return json.dumps(json.loads(body), indent=1, ensure_ascii=False).encode()
