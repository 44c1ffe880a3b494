"""Base and adapter as one model that knows nothing of adapters."""

import shutil
from pathlib import Path

import torch
import transformers
from peft import PeftModel
from transformers import AutoModelForCausalLM

from csqa_loop.errors import PermanentError
from csqa_loop.training.base_files import files_of
from csqa_loop.training.trl import base as bases
from csqa_loop.training.trl import lora


def merge(base_model: str, adapter: Path, folder: Path, *, fingerprint: str) -> None:
    """Write the merged checkpoint to `folder`, in the base's dtype, with everything beside the weights as the base has it.

    Each product of adapter matrices is added in float32 and rounded once: added in bfloat16, much of an update is rounded away.

    Raises:
        PermanentError: the base is not the one with `fingerprint`, which the adapter was trained on; the adapter is no plain LoRA, or
            merging gives values that are no numbers.
    """
    base = bases.identify(base_model)
    if base.fingerprint != fingerprint:
        msg = (
            f"{base_model} has the fingerprint {base.fingerprint[:16]}; {adapter.name} was trained on {fingerprint[:16] or 'an unknown one'}: "
            "restore that base, or export the adapter alone"
        )
        raise PermanentError(msg)
    lora.plain_config(adapter)
    transformers.utils.logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(base_model, dtype="auto", use_safetensors=True)
    base_dtype: torch.dtype = model.dtype
    try:
        merged = PeftModel.from_pretrained(model.float(), adapter).merge_and_unload(safe_merge=True)
    except ValueError as error:
        msg = f"{adapter.name} cannot be merged into {base_model}: {' '.join(str(error).split())}"
        raise PermanentError(msg) from error
    merged.to(base_dtype).save_pretrained(folder)
    bases.load_tokenizer(base_model)  # fetches its files where the base is a hub's name, and finds them sound
    _copy_beside_weights(bases.folder_of(base_model), folder)


def _copy_beside_weights(base: Path, folder: Path) -> None:
    """As they are, not as this library would write them: the model server's release of it may be an older one."""
    for file in files_of(base):
        if not file.name.endswith((".safetensors", ".safetensors.index.json")):
            shutil.copyfile(file, folder / file.name)
