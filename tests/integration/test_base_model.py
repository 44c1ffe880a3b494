"""The packaged model, converted for real: what is written loads like any checkpoint."""

import json
from pathlib import Path

import pytest

from csqa_loop.errors import PermanentError
from csqa_loop.local import base_model
from csqa_loop.settings import Settings

pytestmark = pytest.mark.timeout(600)  # some 25 s on an idle machine; a busy one must not turn that into a failure


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(base_model.prepare(Settings(var=tmp_path_factory.mktemp("var"))))  # asks it for the capital of France


def test_is_a_plain_bfloat16_checkpoint(folder: Path) -> None:
    from safetensors import safe_open

    config = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["architectures"] == ["LlamaForCausalLM"]
    with safe_open(folder / "model.safetensors", framework="pt") as tensors:
        names = set(tensors.keys())
        assert "lm_head.weight" not in names, "tied to the embedding: written once"
        assert {str(tensors.get_slice(name).get_dtype()) for name in names} == {"BF16"}


def test_prompts_in_its_own_chat_format(folder: Path) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False
    )
    assert text == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.decode(tokenizer("14 days, $3.50").input_ids) == "14 days, $3.50"


def test_a_damaged_model_fails_its_check(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    for layer in range(30):
        name = f"model.layers.{layer}.self_attn.q_proj.weight"
        tensors[name] = tensors[name].flip(0)  # what a forgotten permutation does
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PermanentError, match=r"asked 'What is the capital of France\?' it says .*, not 'Paris'; nothing was kept"):
        base_model._check(tmp_path)
