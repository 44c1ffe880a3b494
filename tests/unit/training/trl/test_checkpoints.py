"""A training that was killed continues where it was, and ends with the same adapter."""

import json
from pathlib import Path

import pytest

from csqa_loop.errors import PermanentError
from csqa_loop.training.adapters import adapter_name
from csqa_loop.training.trl import checkpoints
from csqa_loop.training.trl.base import identify
from csqa_loop.training.trl.examples import Demonstrated, Preference, Rated
from tests import tiny_model
from tests.tiny_model import asked

WORDS = [f"14 {'? ' * n}" for n in range(5)]
MATERIAL = {
    "dpo": {"pairs": [Preference(asked(n), "within 14 days .", "no .") for n in WORDS]},
    "kto": {"pairs": (), "rated": [Rated(asked(n), answer, answer != "no .") for n in WORDS[:4] for answer in ("yes .", "no .")]},
    "sft": {"pairs": (), "demonstrations": [Demonstrated(asked(n), "within 14 days .") for n in WORDS]},
}


class KilledError(BaseException):
    """As a signal: nothing may catch it."""


def _killed_at(step: int):
    def on_step(now: int, *_: object) -> None:
        if now == step:
            raise KilledError

    return on_step


@pytest.mark.parametrize("method", ["dpo", "kto", "sft"])
def test_a_killed_training_ends_with_the_same_adapter(train, base: str, tmp_path: Path, method: str) -> None:
    options = {"method": method, "changes": {"checkpoint_steps": 1, "epochs": 3, "batch_size": 4 if method == "kto" else 2}} | MATERIAL[
        method
    ]
    whole = train(tmp_path / "whole", **options)
    for step in (2, 5):  # inside an epoch, and once more after the first resumption
        with pytest.raises(KilledError):
            train(tmp_path / "killed", on_step=_killed_at(step), **options)
    assert checkpoints.newest(tmp_path / "scratch-of-killed", identify(base).fingerprint).name == "checkpoint-4"
    seen: list[int] = []
    resumed = train(tmp_path / "killed", on_step=lambda step, *_: seen.append(step), **options)
    assert seen[0] == 5
    assert adapter_name(tmp_path / "killed") == adapter_name(tmp_path / "whole")
    losses = [[entry["loss"] for entry in trained.history if "loss" in entry] for trained in (whole, resumed)]
    assert losses[0] == losses[1]
    assert resumed.first_loss == whole.first_loss


def test_a_finished_training_is_only_written_again(train, tmp_path: Path) -> None:
    train(tmp_path / "a")
    name = adapter_name(tmp_path / "a")
    steps: list[int] = []
    train(tmp_path / "a", on_step=lambda step, *_: steps.append(step))
    assert (adapter_name(tmp_path / "a"), steps) == (name, [])


def _checkpoint(folder: Path, step: int) -> Path:
    made = folder / f"checkpoint-{step}"
    made.mkdir(parents=True)
    (made / "adapter_model.safetensors").write_bytes(b"tensors")
    checkpoints.seal(made, "f" * 64)
    return made


def test_a_checkpoint_that_is_half_written_changed_or_foreign_is_not_used(tmp_path: Path) -> None:
    sound = _checkpoint(tmp_path, 9)
    (_checkpoint(tmp_path, 10) / "seal.json").unlink()
    (_checkpoint(tmp_path, 11) / "adapter_model.safetensors").write_bytes(b"other")
    (_checkpoint(tmp_path, 12) / "adapter_model.safetensors").unlink()
    (_checkpoint(tmp_path, 13) / "seal.json").write_text("{")
    foreign = _checkpoint(tmp_path, 100) / "seal.json"
    foreign.write_text(json.dumps(json.loads(foreign.read_text()) | {"versions": {"torch": "1.0"}}))
    assert checkpoints.newest(tmp_path, "f" * 64) == sound
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-9"]


def test_without_a_checkpoint_a_training_starts_anew(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path / "nowhere", "f" * 64) is None


def test_a_checkpoint_of_another_base_is_not_continued(train, tmp_path: Path) -> None:
    base = tiny_model.make(tmp_path / "base")
    options = {"base_model": base, "changes": {"checkpoint_steps": 1, "epochs": 3}} | MATERIAL["dpo"]
    with pytest.raises(KilledError):
        train(tmp_path / "killed", on_step=_killed_at(3), **options)
    tiny_model.make(tmp_path / "base", seed=1)
    with pytest.raises(PermanentError, match=r"checkpoint-2 was trained on a base with the fingerprint [0-9a-f]{16}, and the base is"):
        train(tmp_path / "killed", **options)
