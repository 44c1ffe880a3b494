"""Folders that pass for adapters: a small LoRA under the name of its content."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save

from csqa_loop.training.adapters import CONFIG_FILE, TENSORS_FILE, adapter_name

CONFIG = '{"r": 1}'


def tensors_of(content: bytes) -> bytes:
    """A LoRA whose only matrix has the numbers of `content`."""
    return save({"base_model.model.q_proj.lora_A.weight": np.frombuffer(content, np.uint8).astype(np.float32).reshape(1, -1)})


def adapter_in(folder: Path, content: bytes) -> str:
    """The name of a new adapter in `folder`; other content, another name."""
    draft = folder / "draft"
    draft.mkdir(parents=True)
    (draft / CONFIG_FILE).write_text(CONFIG)
    (draft / TENSORS_FILE).write_bytes(tensors_of(content))
    name = adapter_name(draft)
    draft.rename(folder / name)
    return name
