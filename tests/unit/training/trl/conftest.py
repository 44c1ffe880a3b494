"""One tiny base for every test of training, and a function that trains on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_model

pytest.importorskip("torch")
pytest.importorskip("trl")

from csqa_loop.training.trl import run
from csqa_loop.training.trl.examples import Examples, Preference, Trained

PAIRS = [Preference(tiny_model.asked(n), "within 14 days .", "no .", name=f"p-{n}") for n in ("?", "14 ?", "30 ?")]
Train = Callable[..., Trained]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_model.make(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def train(base: str) -> Train:
    def training(
        folder: Path, *, pairs: Any = PAIRS, rated: Any = (), demonstrations: Any = (), method: Any = "dpo", **options: Any
    ) -> Trained:
        changes = options.pop("changes", {})
        return run.train(
            folder,
            **{
                "method": method,
                "base_model": base,
                "parent": None,
                "examples": Examples(pairs, rated, demonstrations),
                "settings": tiny_model.settings(**changes),
                "scratch": folder.with_name(f"scratch-of-{folder.name}"),
                "on_step": lambda *_: None,
            }
            | options,
        )

    return training


@pytest.fixture(scope="session")
def first(train: Train, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """A champion."""
    folder = tmp_path_factory.mktemp("first") / "adapter"
    return folder, train(folder)
