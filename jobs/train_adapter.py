"""Train one adapter: `python -m jobs.train_adapter RUN_DIR`. A function of the run directory; a finished run is not trained again."""

import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from csqa_loop.cycle.adapters import install, verify
from csqa_loop.cycle.run_directory import Manifest, PairSource, RunConfig, RunDirectory, RunRequest
from csqa_loop.domain.errors import PermanentError
from csqa_loop.domain.events import BASE
from jobs import entry


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, then train. Exit codes: 0 trained (now or before), 2 bad run directory, 1 anything else."""
    options = entry.arguments("train_adapter", "Train the adapter that RUN_DIR asks for.", argv)
    return entry.run("train_adapter", options.run_dir, train)


def train(run: RunDirectory) -> None:
    """Write the adapter and, last of all, manifest.json.

    Raises:
        BadInputError: the run directory is not complete and consistent.
        PermanentError: training did not give a usable adapter.
    """
    try:
        request, config = run.check()
        manifest = run.manifest()
    except PermanentError as error:
        raise entry.BadInputError(str(error)) from error
    adapters = Path(config.adapters)
    if manifest is not None and (adapters / manifest.adapter).is_dir():
        print(f"{manifest.adapter} is trained already", flush=True)
        return
    run.discard("adapter", "checkpoints", "progress.jsonl", "manifest.json")
    name = _train(run, request, config)
    print(f"{name} is trained", flush=True)


def _train(run: RunDirectory, request: RunRequest, config: RunConfig) -> str:
    started = time.monotonic()
    adapters = Path(config.adapters)
    try:
        parent = None if config.parent == BASE else verify(adapters, config.parent)
    except PermanentError as error:
        raise entry.BadInputError(str(error)) from error
    pairs = run.pairs()
    run.append_progress(step=0, steps=0)

    # Read when torch loads its threads: beside a busy neighbour, spinning at barriers costs many times the work itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.filterwarnings("ignore", category=FutureWarning)  # what libraries will change does not belong in a run's log
    from csqa_loop.backends import dpo

    dpo.quiet()
    folder = run.path / "adapter"
    if config.training.method == "placebo":
        trained = dpo.placebo(folder, base_model=config.base_model, parent=parent, settings=config.training, label=request.run_id)
    else:
        preferences = [dpo.Preference([message.model_dump() for message in pair.prompt], pair.chosen, pair.rejected) for pair in pairs]

        def on_step(step: int, steps: int, loss: float | None) -> None:
            run.append_progress(step=step, steps=steps, loss=loss)

        trained = dpo.train(
            folder,
            base_model=config.base_model,
            parent=parent,
            pairs=preferences,
            settings=config.training,
            scratch=run.path / "checkpoints",
            on_step=on_step,
        )
    name = install(folder, adapters)
    manifest = Manifest(
        run_id=request.run_id,
        adapter=name,
        base=config.base_model,
        parent=config.parent,
        recipe_hash=request.recipe_hash,
        data_hash=request.data_hash,
        pairs=tuple(
            PairSource(
                pair_id=pair.pair_id,
                message_id=pair.message_id,
                answer_event_id=pair.answer_event_id,
                evidence_event_id=pair.evidence_event_id,
            )
            for pair in pairs
        ),
        config=config.training.model_dump(mode="json"),
        seed=config.training.seed,
        versions=trained.versions,
        metrics=trained.metrics,
        first_loss=trained.first_loss,
        seconds=round(time.monotonic() - started, 3),
    )
    run.write("manifest.json", manifest.model_dump_json(indent=1).encode())
    return name


if __name__ == "__main__":
    sys.exit(main())
