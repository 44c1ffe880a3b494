"""What a model server may load: finite numbers, of the rank that the configuration says."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from csqa_loop.errors import PermanentError
from csqa_loop.training.tensors import check_tensors

LORA_A, LORA_B = "base_model.model.q_proj.lora_A.weight", "base_model.model.q_proj.lora_B.weight"


def check(folder: Path, tensors: dict[str, torch.Tensor], config: object = None) -> None:
    config_file, tensors_file = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    config_file.write_text(json.dumps({"r": 2} if config is None else config))
    save_file(tensors, tensors_file)
    check_tensors(config_file, tensors_file)


def lora(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return {LORA_A: torch.ones((2, 3), dtype=dtype), LORA_B: torch.zeros((3, 2), dtype=dtype)}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@given(place=st.integers(0, 5))
def test_one_number_that_is_none_is_found_in_every_type(
    tmp_path_factory: pytest.TempPathFactory, dtype: torch.dtype, number: float, place: int
) -> None:
    folder = tmp_path_factory.mktemp("adapter")
    tensors = lora(dtype)
    check(folder, tensors)
    tensors[LORA_B].reshape(-1)[place] = number
    with pytest.raises(PermanentError, match=r"lora_B\.weight has 1 of 6 numbers that are infinite or none"):
        check(folder, tensors)


def test_the_largest_numbers_are_finite(tmp_path: Path) -> None:
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        check(tmp_path, {LORA_A: torch.full((2, 3), torch.finfo(dtype).max, dtype=dtype)})


@pytest.mark.parametrize(
    ("config", "said"), [({"r": 4}, "says 4"), ({}, "names no rank"), ([], "names no rank"), ({"r": "x"}, "names no rank")]
)
def test_another_rank_than_the_configuration_says_is_named(tmp_path: Path, config: object, said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        check(tmp_path, lora(), config)


def test_a_pattern_of_ranks_is_taken(tmp_path: Path) -> None:
    check(tmp_path, lora(), {"r": 8, "rank_pattern": {"q_proj": 2}})


def test_what_is_no_lora_is_named(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="no LoRA"):
        check(tmp_path, {"weight": torch.zeros((2, 2))})
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(PermanentError, match="no safetensors"):
        check_tensors(tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors")
