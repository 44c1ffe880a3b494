"""Folders that pass for adapters: two small files under the name of their content."""

from pathlib import Path

from csqa_loop.training.adapters import CONFIG_FILE, TENSORS_FILE, adapter_name


def adapter_in(folder: Path, tensors: bytes) -> str:
    """The name of a new adapter in `folder`; other tensors, another name."""
    draft = folder / "draft"
    draft.mkdir(parents=True)
    (draft / CONFIG_FILE).write_text("{}")
    (draft / TENSORS_FILE).write_bytes(tensors)
    name = adapter_name(draft)
    draft.rename(folder / name)
    return name
