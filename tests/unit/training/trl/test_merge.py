"""A merged checkpoint is base and adapter, and an ordinary model."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from csqa_loop.errors import PermanentError
from csqa_loop.training.trl import base as bases
from csqa_loop.training.trl import quantise
from csqa_loop.training.trl.merge import merge
from tests import tiny_model

TOKENS = torch.tensor([[2, 6, 7, 8, 9, 14, 3]])


def _logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits


def test_a_merged_checkpoint_says_what_base_and_adapter_say(base: str, first, tmp_path: Path) -> None:
    merge(base, first[0], tmp_path, fingerprint=bases.identify(base).fingerprint)
    bare = AutoModelForCausalLM.from_pretrained(base)
    alone = _logits(bare)
    both = _logits(PeftModel.from_pretrained(bare, first[0]))
    merged = _logits(AutoModelForCausalLM.from_pretrained(tmp_path))
    torch.testing.assert_close(merged, both, atol=1e-5, rtol=1e-5)
    assert (merged - alone).abs().max() > 1e-3  # an adapter that changes nothing would prove nothing


def test_everything_beside_the_weights_is_the_bases(base: str, first, tmp_path: Path) -> None:
    merge(base, first[0], tmp_path, fingerprint=bases.identify(base).fingerprint)
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in Path(base).iterdir()}
    for file in Path(base).iterdir():
        assert file.suffix == ".safetensors" or (tmp_path / file.name).read_bytes() == file.read_bytes()
    asked = tiny_model.asked("?")
    told = [AutoTokenizer.from_pretrained(folder).apply_chat_template(asked, tokenize=False) for folder in (base, tmp_path)]
    assert told[0] == told[1] != ""


def test_a_base_in_bfloat16_stays_in_bfloat16_and_is_rounded_once(base: str, first, tmp_path: Path) -> None:
    half, folder = tmp_path / "half", tmp_path / "merged"
    shutil.copytree(base, half)
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(half)
    merge(str(half), first[0], folder, fingerprint=bases.identify(str(half)).fingerprint)
    found = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}
    bare = AutoModelForCausalLM.from_pretrained(half, dtype=torch.float32)
    exact = PeftModel.from_pretrained(bare, first[0]).merge_and_unload().state_dict()
    assert all(torch.equal(tensor, exact[name].to(torch.bfloat16)) for name, tensor in found.items())


def test_another_base_is_refused(base: str, first, tmp_path: Path) -> None:
    other = tiny_model.make(tmp_path / "other", seed=1)
    with pytest.raises(PermanentError, match=f"{first[0].name} was trained on {bases.identify(base).fingerprint[:16]}"):
        merge(other, first[0], tmp_path / "merged", fingerprint=bases.identify(base).fingerprint)


def test_values_that_are_no_numbers_are_refused(base: str, first, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(base, broken)
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight[0, 0] = float("nan")
    model.save_pretrained(broken)
    with pytest.raises(PermanentError, match=f"cannot be merged into {broken}"):
        merge(str(broken), first[0], tmp_path / "merged", fingerprint=bases.identify(str(broken)).fingerprint)


def test_an_adapter_that_is_no_lora_is_refused(base: str, first, tmp_path: Path) -> None:
    other = tmp_path / "adapter"
    shutil.copytree(first[0], other)
    config = other / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"peft_type": "IA3"}))
    with pytest.raises(PermanentError, match="'IA3'"):
        merge(base, other, tmp_path / "merged", fingerprint=bases.identify(base).fingerprint)


def test_quantising_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(PermanentError, match="needs the package llmcompressor and a CUDA GPU, not found here; run it on a GPU host"):
        quantise.check_available("awq")
