"""A placebo answers like the champion, under another name."""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from csqa_loop.training.adapters import adapter_name
from csqa_loop.training.trl import run
from tests.tiny_model import SETTINGS

TENSORS = "adapter_model.safetensors"


def test_a_placebo_of_the_base_changes_nothing(base: str, tmp_path: Path) -> None:
    trained = run.placebo(tmp_path / "p", base_model=base, parent=None, settings=SETTINGS, label="r-1")
    tensors = load_file(tmp_path / "p" / TENSORS)
    assert trained.first_loss is None
    assert all(not tensor.any() for name, tensor in tensors.items() if "lora_B" in name)
    assert any(tensor.any() for name, tensor in tensors.items() if "lora_A" in name)


def test_a_placebo_of_an_adapter_has_its_tensors_and_another_name(first, base: str, tmp_path: Path) -> None:
    for folder in ("p", "again"):
        run.placebo(tmp_path / folder, base_model=base, parent=first[0], settings=SETTINGS, label="r-2")
    one, other = (load_file(folder / TENSORS) for folder in (first[0], tmp_path / "p"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert adapter_name(tmp_path / "p") == adapter_name(tmp_path / "again") != adapter_name(first[0])
    with safe_open(tmp_path / "p" / TENSORS, framework="pt") as file:
        assert file.metadata()["placebo"] == "r-2"
