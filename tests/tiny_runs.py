"""Run directories for the tiny model."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from csqa_loop.evidence.rules.pairs import Pair
from csqa_loop.training.run.directory import RunDirectory
from tests import tiny_model
from tests.run_directories import pair, write_run

TRAINING = {"epochs": 3, "learning_rate": 1e-2, "rank": 2, "alpha": 8, "batch_size": 2, "threads": 1, "checkpoint_steps": 1}


def tiny_pair(number: int, **changes: Any) -> Pair:
    prompt = json.dumps(tiny_model.asked("14 " * number + "?"))
    made = dataclasses.replace(
        pair(number, chosen="within 14 days .", rejected="no ."), prompt=prompt, source="correction", category="returns"
    )
    return dataclasses.replace(made, **changes)


PAIRS = [tiny_pair(number) for number in range(1, 6)]


def tiny_run(folder: Path, base: str, run_id: str = "r-1", *, training: Any = (), **options: Any) -> RunDirectory:
    """A run on five pairs: nine steps, with a checkpoint after each."""
    return write_run(folder / "runs", run_id, **{"pairs": PAIRS, "base_model": base, "training": TRAINING | dict(training)} | options)
