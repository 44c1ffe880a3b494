"""Weights of four bits, by llm-compressor, which is no dependency: it pins releases of its own and needs a GPU host."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM

from csqa_loop.errors import PermanentError
from csqa_loop.training.trl import base as bases

Quantisation = Literal["awq", "gptq"]
_MOST = 512
"""Calibration examples."""


def check_available(method: Quantisation) -> None:
    """Check before anything is merged.

    Raises:
        PermanentError: the package or the GPU is missing.
    """
    missing = [
        requirement
        for requirement, present in (
            ("the package llmcompressor", importlib.util.find_spec("llmcompressor") is not None),
            ("a CUDA GPU", torch.cuda.is_available()),
        )
        if not present
    ]
    if missing:
        msg = f"--quantise {method} needs {' and '.join(missing)}, not found here; run it on a GPU host after `pip install llmcompressor`"
        raise PermanentError(msg)


def quantise(merged: Path, folder: Path, method: Quantisation, conversations: Sequence[Sequence[dict[str, str]]]) -> None:
    """Write the model of `merged` to `folder`, calibrated on `conversations`: what was trained on, never what the gate asks.

    AWQ: Lin et al., arXiv:2306.00978. GPTQ: Frantar et al., arXiv:2210.17323.
    """
    from datasets import Dataset
    from llmcompressor import oneshot

    tokenizer = bases.load_tokenizer(str(merged))
    texts = [tokenizer.apply_chat_template(messages, tokenize=False) for messages in conversations[:_MOST]]
    # The template writes the special tokens.
    examples = [dict(tokenizer(text, add_special_tokens=False)) for text in texts]
    model = AutoModelForCausalLM.from_pretrained(merged, dtype="auto", use_safetensors=True)
    oneshot(
        model=model,
        dataset=Dataset.from_list(examples),
        recipe=_recipe(method),
        max_seq_length=max(len(example["input_ids"]) for example in examples),
        num_calibration_samples=len(examples),
    )
    model.save_pretrained(folder, save_compressed=True)
    tokenizer.save_pretrained(folder)


def _recipe(method: Quantisation) -> Any:
    if method == "awq":
        from llmcompressor.modifiers.awq import AWQModifier

        return AWQModifier(targets=["Linear"], scheme="W4A16_ASYM", ignore=["lm_head"])
    from llmcompressor.modifiers.quantization import GPTQModifier

    return GPTQModifier(targets="Linear", scheme="W4A16", ignore=["lm_head"])
