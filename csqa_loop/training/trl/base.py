"""The base model: which one it is exactly, and loading it for training."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils.hub import cached_file

from csqa_loop.errors import PermanentError
from csqa_loop.settings import TrainingSettings
from csqa_loop.training import base_files
from csqa_loop.training.rules import sizing


@dataclass(frozen=True)
class Base:
    """One exact model."""

    name: str
    revision: str
    """The hub's commit; empty for a folder."""
    fingerprint: str
    """SHA-256 over the files' names and contents."""


def identify(name: str, *, pinned: str = "") -> Base:
    """Read every file of the model once. `pinned`: the fingerprint that it must have, where one is known.

    Raises:
        PermanentError: there is no such model here, its weights are not safetensors, or it is another one than was pinned.
    """
    folder, revision = _folder(name)
    if not any(file.suffix == ".safetensors" for file in base_files.files_of(folder)):
        msg = f"the base model {name} has no safetensors in {folder}; convert it: loading other formats can run code"
        raise PermanentError(msg)
    base = Base(name, revision, base_files.fingerprint(folder))
    if pinned and base.fingerprint != pinned:
        msg = (
            f"the base model {name} has the fingerprint {base.fingerprint[:16]}, and the run was requested on {pinned[:16]}: it changed under the "
            "same name; restore it, or let a new run be claimed"
        )
        raise PermanentError(msg)
    return base


def folder_of(name: str) -> Path:
    """Where the model's files lie.

    Raises:
        PermanentError: there is no such model here.
    """
    return _folder(name)[0]


def load_tokenizer(name: str) -> Any:
    """The base's tokenizer, with its chat template."""
    return AutoTokenizer.from_pretrained(name)


def load(name: str, settings: TrainingSettings) -> Any:
    """The bare base.

    Raises:
        PermanentError: 4-bit weights are asked for where they cannot be had.
    """
    options: dict[str, Any] = {"dtype": dtype(settings), "use_safetensors": True}
    if settings.quantization == "4bit":
        options["quantization_config"] = _four_bits()
    base = AutoModelForCausalLM.from_pretrained(name, **options)
    if settings.quantization == "4bit":
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=settings.gradient_checkpointing != "off")
    return base


def dtype(settings: TrainingSettings) -> torch.dtype:
    """The dtype in which the base is computed. Its adapter stays float32: bfloat16 rounds by as much as an update."""
    if settings.precision == "auto":
        return torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return torch.bfloat16 if settings.precision == "bfloat16" else torch.float32


def target_modules(model: Any, settings: TrainingSettings) -> str | tuple[str, ...]:
    """The modules that the adapter goes on; `auto` is worked out from the model's size and the free memory."""
    if settings.target_modules != "auto":
        return settings.target_modules
    free = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else psutil.virtual_memory().available
    names = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
    return sizing.target_modules(size, int(free), names)


def _folder(name: str) -> tuple[Path, str]:
    if Path(name).is_dir():
        return Path(name), ""
    try:
        config = cached_file(name, "config.json")
    except OSError as error:
        msg = f"the base model {name} is neither a folder nor on this machine: {str(error).splitlines()[0]}"
        raise PermanentError(msg) from error
    return Path(config).parent, Path(config).parent.name


def _four_bits() -> BitsAndBytesConfig:
    """QLoRA: Dettmers et al., arXiv:2305.14314, sections 2 and 3."""
    missing = [
        requirement
        for requirement, present in (
            ("a CUDA GPU", torch.cuda.is_available()),
            ("bitsandbytes", importlib.util.find_spec("bitsandbytes") is not None),
        )
        if not present
    ]
    if missing:
        msg = f"training.quantization is 4bit, which needs {' and '.join(missing)}, not found here; set it to none, or train on a GPU host"
        raise PermanentError(msg)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16
    )
