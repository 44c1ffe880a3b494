"""The loop's side of a run directory: everything a job needs, complete before the run is requested."""

import asyncio
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from csqa_loop import __version__
from csqa_loop.cycle.run_directory import RunConfig, RunDirectory, RunRequest
from csqa_loop.domain.errors import TransientError
from csqa_loop.domain.events import TrainingRequested
from csqa_loop.domain.preferences import Pair

_COLUMNS = (
    "pair_id", "question", "prompt", "chosen", "rejected", "policy_id", "section", "message_id", "evidence_event_id", "answer_event_id",
    "source", "weight",
)  # fmt: skip


class RunWriter:
    """`ports.RunDirectories` on a folder that loop, trainers and vLLM share."""

    def __init__(self, runs: Path, config: RunConfig) -> None:
        self._runs = runs
        self._config = config

    def recipe_hash(self, champion: str, pairs_hash: str) -> str:
        """16 hex over base, parent, pairs, training configuration and code version."""
        training = self._config.training.model_dump_json()
        recipe = f"{self._config.base_model}\n{champion}\n{pairs_hash}\n{training}\n{__version__}"
        return hashlib.sha256(recipe.encode()).hexdigest()[:16]

    async def prepare(self, request: TrainingRequested, pairs: Sequence[Pair], holdout: Sequence[Pair]) -> None:
        """Write `runs/<run_id>/`; a directory whose request is already there is left as it is: a job may be reading it."""
        try:
            await asyncio.to_thread(self._write, request, pairs, holdout)
        except OSError as error:
            msg = f"{self._runs / request.run_id} cannot be written: {error}"
            raise TransientError(msg) from error

    def _write(self, request: TrainingRequested, pairs: Sequence[Pair], holdout: Sequence[Pair]) -> None:
        run = RunDirectory.of(self._runs, request.run_id)
        if (run.path / "request.json").exists():
            return
        run.path.mkdir(parents=True, exist_ok=True)
        run.write("pairs.parquet", _parquet(pairs))
        run.write("holdout.parquet", _parquet(holdout))
        run.write("config.json", _pretty(self._config.model_copy(update={"parent": request.champion}).model_dump_json()))
        body = RunRequest(
            run_id=request.run_id,
            champion=request.champion,
            pair_ids=tuple(pair.pair_id for pair in pairs),
            holdout_pair_ids=tuple(pair.pair_id for pair in holdout),
            data_hash=request.data_hash,
            recipe_hash=request.recipe_hash,
        )
        run.write("request.json", _pretty(body.model_dump_json()))  # last: a directory with a request is complete


def _parquet(pairs: Sequence[Pair]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    rows = [{name: asdict(pair)[name] for name in _COLUMNS} for pair in pairs]
    schema = pa.schema([(name, pa.float64() if name == "weight" else pa.string()) for name in _COLUMNS])
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return sink.getvalue()


def _pretty(body: str) -> bytes:
    return json.dumps(json.loads(body), indent=1, ensure_ascii=False).encode()
