"""Train one adapter: `python -m jobs.train_adapter RUN_DIR`. A function of the run directory; a finished run is not trained again.

On several GPUs: `accelerate launch --config_file deploy/accelerate-zero2.yaml -m jobs.train_adapter RUN_DIR`.
"""

import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from csqa_loop import __version__
from csqa_loop.errors import PermanentError, UnfitError
from csqa_loop.events import BASE
from csqa_loop.training.adapters import install, verify
from csqa_loop.training.rules.plan import Plan, PlanPolicy, Supply, plan
from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.files import UNFIT, RunConfig, RunRequest
from csqa_loop.training.run.manifest import Manifest, PairSource
from csqa_loop.training.run.rows import Demonstration, PairRow, Unpaired
from jobs import entry

if TYPE_CHECKING:
    from csqa_loop.training.trl.examples import Examples, Trained

_log = logging.getLogger(__name__)
_MAIN = os.environ.get("RANK", "0") == "0"
"""Whether this process writes; with `accelerate launch` there is one a GPU."""


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
    except PermanentError as error:
        raise entry.BadInputError(str(error)) from error
    if adapter := _trained_already(run, request, config):
        print(f"{adapter} is trained already", flush=True)
        return
    if _MAIN:
        run.discard("adapter", "progress.jsonl", "manifest.json", UNFIT)  # checkpoints stay: a killed training continues
    name = _train(run, request, config)
    if _MAIN:
        run.discard("checkpoints")
    print(f"{name} is trained", flush=True)


def _trained_already(run: RunDirectory, request: RunRequest, config: RunConfig) -> str:
    """The adapter of a run that is finished, else an empty text: what is another run's or damaged is made again."""
    try:
        manifest = run.finished_manifest(request, config)
    except PermanentError as error:
        _log.warning("trained again: %s", error)
        return ""
    return manifest.adapter if manifest else ""


def _train(run: RunDirectory, request: RunRequest, config: RunConfig) -> str:
    started = time.monotonic()
    adapters = Path(config.adapters)
    rows = _Rows(run)
    try:
        parent = None if config.parent == BASE else verify(adapters, config.parent)
        planned = rows.plan(config)
    except PermanentError as error:
        raise entry.BadInputError(str(error)) from error
    if _MAIN:
        run.append_progress(step=0, steps=0)

    # Read when torch loads its threads: beside a busy neighbour, spinning at barriers costs many times the work itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # trl reports each training otherwise
    warnings.filterwarnings("ignore", category=FutureWarning)  # what libraries will change does not belong in a run's log
    from csqa_loop.training.trl import run as training

    training.quiet()
    folder = run.path / "adapter"

    def on_step(step: int, steps: int, loss: float | None) -> None:
        run.require_attempt(request.attempt)
        if _MAIN:
            run.append_progress(step=step, steps=steps, loss=loss)

    if planned is None:
        trained = training.placebo(
            folder,
            base_model=config.base_model,
            parent=parent,
            settings=config.training,
            label=request.run_id,
            fingerprint=config.base_fingerprint,
        )
    else:
        try:
            trained = training.train(
                folder,
                method=planned.method,
                base_model=config.base_model,
                parent=parent,
                examples=rows.examples(),
                settings=config.training,
                scratch=run.path / "checkpoints",
                on_step=on_step,
                fingerprint=config.base_fingerprint,
            )
        except UnfitError as error:
            if _MAIN:
                run.write(UNFIT, json.dumps({"names": error.names}).encode())
            raise
    if not _MAIN:
        return "its part"
    curves = _draw(run, trained)
    name = install(folder, adapters)
    new: tuple[PairRow | Unpaired | Demonstration, ...] = (*rows.pairs, *rows.unpaired, *rows.demonstrations)
    manifest = Manifest(
        run_id=request.run_id,
        adapter=name,
        base=config.base_model,
        base_revision=trained.base_revision,
        base_fingerprint=trained.base_fingerprint,
        parent=config.parent,
        method=planned.method if planned else "placebo",
        mode=config.training.mode,
        reason=request.reason or (planned.reason if planned else "placebo is set"),
        recipe_hash=request.recipe_hash,
        data_hash=request.data_hash,
        code_version=__version__,
        pairs=tuple(PairSource.of(row.example_id, row) for row in new),
        replay=tuple(PairSource.of(pair.pair_id, pair) for pair in rows.replay),
        config=config.training.model_dump(mode="json"),
        chosen=trained.chosen,
        seed=config.training.seed,
        versions=trained.versions,
        metrics=trained.metrics,
        first_loss=trained.first_loss,
        curves=curves,
        seconds=round(time.monotonic() - started, 3),
    )
    run.require_attempt(request.attempt)
    run.write("manifest.json", manifest.model_dump_json(indent=1).encode())
    return name


class _Rows:
    """The rows of a run directory that the chosen method trains on; the rest is left out of training and manifest."""

    def __init__(self, run: RunDirectory) -> None:
        self.pairs: tuple[PairRow, ...] = run.pairs()
        self.replay: tuple[PairRow, ...] = run.replay()
        self.unpaired: tuple[Unpaired, ...] = run.unpaired()
        self.demonstrations: tuple[Demonstration, ...] = run.demonstrations()

    def plan(self, config: RunConfig) -> Plan | None:
        """The method, and only its rows are kept; None for a placebo.

        Raises:
            PermanentError: there is nothing to run it on.
        """
        setting: Literal["auto", "dpo", "kto", "sft", "placebo"] = config.training.method
        if setting == "placebo":
            return None
        liked = sum(row.liked for row in self.unpaired)
        supply = Supply(
            pairs=len(self.pairs) + len(self.replay),
            liked=liked,
            disliked=len(self.unpaired) - liked,
            demonstrations=len(self.demonstrations),
            champion_is_base=config.parent == BASE,
        )
        method_plan = plan(setting, supply, PlanPolicy())
        if method_plan is None:
            msg = (
                f"there is too little to train on by {setting}: {supply.pairs} pairs, {supply.liked} liked and {supply.disliked} disliked answers, "
                f"{supply.demonstrations} demonstrations"
            )
            raise PermanentError(msg)
        if method_plan.method != "sft":
            self.demonstrations = ()
        else:
            self.pairs, self.replay = (), ()
        if method_plan.method != "kto":
            self.unpaired = ()
        return method_plan

    def examples(self) -> "Examples":
        """The examples as the trainers take them."""
        from csqa_loop.training.trl.examples import Demonstrated, Examples, Preference, Rated

        def messages(row: PairRow | Unpaired | Demonstration) -> list[dict[str, str]]:
            return [message.model_dump() for message in row.prompt]

        return Examples(
            pairs=[Preference(messages(row), row.chosen, row.rejected, row.weight, row.pair_id) for row in (*self.pairs, *self.replay)],
            rated=[Rated(messages(row), row.answer, row.liked, row.example_id) for row in self.unpaired],
            demonstrations=[Demonstrated(messages(row), row.answer, row.example_id) for row in self.demonstrations],
        )


def _draw(run: RunDirectory, trained: "Trained") -> tuple[str, ...]:
    """Write the curves; the names of the pictures."""
    if not trained.history:
        return ()
    from csqa_loop.training.trl.curves import draw

    run.write("curves.png", draw(trained.history))
    return ("curves.png",)


if __name__ == "__main__":
    sys.exit(main())
