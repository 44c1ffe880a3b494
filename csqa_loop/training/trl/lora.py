"""The adapter: its shape, what of an older one may be continued, and the two files it is kept in."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from peft.tuners.tuners_utils import check_target_module_exists
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor

from csqa_loop.errors import PermanentError
from csqa_loop.settings import TrainingSettings
from csqa_loop.training.rules import sizing

CONFIG_FILE, TENSORS_FILE = "adapter_config.json", "adapter_model.safetensors"
BASE_KEY = "base_fingerprint"
_SHAPED = ("r", "lora_alpha", "target_modules", "use_rslora", "rank_pattern")
_NEVER_SET = ("alpha_pattern", "use_dora", "lora_bias", "fan_in_fan_out", "target_parameters")
"""What no setting of ours makes: an adapter from elsewhere may have it."""


def shape(settings: TrainingSettings, *, examples: int, target_modules: str | tuple[str, ...]) -> LoraConfig:
    """A fresh adapter's configuration; what says `auto` is worked out."""
    rank = sizing.rank(examples, settings.rank_limit) if settings.rank == "auto" else settings.rank
    return LoraConfig(
        r=rank,
        lora_alpha=sizing.alpha(rank, rslora=settings.rslora) if settings.alpha == "auto" else settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=target_modules if isinstance(target_modules, str) else list(target_modules),
        rank_pattern=dict(settings.rank_pattern),
        use_rslora=settings.rslora,
        bias="none",
        task_type="CAUSAL_LM",
    )


def described(config: LoraConfig) -> dict[str, Any]:
    """The shape as a manifest records it."""
    shape = {name: getattr(config, name) for name in _SHAPED}
    return shape | {
        "target_modules": sorted(shape["target_modules"]) if isinstance(shape["target_modules"], set) else shape["target_modules"]
    }


def check_parent(folder: Path, *, base_model: str, fingerprint: str) -> None:
    """Whether this adapter may be used on this base.

    Raises:
        PermanentError: it is no plain LoRA in safetensors, belongs to another base, or has another rank than its configuration says.
    """
    config = plain_config(folder)
    metadata, ranks = _header(folder / TENSORS_FILE)
    trained_on = metadata.get(BASE_KEY)
    if trained_on is None and config.get("base_model_name_or_path") != base_model:
        msg = f"{folder} belongs to the base {config.get('base_model_name_or_path')!r}; this run is for {base_model!r}: train in mode anchored"
        raise PermanentError(msg)
    if trained_on is not None and trained_on != fingerprint:
        msg = (
            f"{folder} was trained on a base with the fingerprint {trained_on[:16]}, and {base_model} has {fingerprint[:16]}: the base is another one, "
            "or it changed under the same name; restore it, or train in mode anchored"
        )
        raise PermanentError(msg)
    allowed = {config["r"], *(config.get("rank_pattern") or {}).values()}
    wrong = sorted(ranks - allowed)
    if wrong:
        msg = f"{folder} holds tensors of rank {wrong[0]}; its {CONFIG_FILE} says {config['r']}: restore it from its run"
        raise PermanentError(msg)


def check_shape(folder: Path, settings: TrainingSettings, base: Any) -> None:
    """Whether the settings describe the adapter in `folder`, which keeps its shape when it is continued. What says `auto` fits any.

    Raises:
        PermanentError: the settings ask for another shape, which would be ignored.
    """
    config = plain_config(folder)
    settings_of = {
        "r": ("rank", settings.rank),
        "lora_alpha": ("alpha", settings.alpha),
        "use_rslora": ("rslora", settings.rslora),
        "rank_pattern": ("rank_pattern", settings.rank_pattern),
    }
    for name, (setting, setting_value) in settings_of.items():
        value = config.get(name, {} if name == "rank_pattern" else False)
        if setting_value not in ("auto", value):
            choice = f"set {value} or auto" if setting in {"rank", "alpha"} else f"set {json.dumps(value)}"
            msg = f"{folder} has {setting} {value} and training.{setting} is {setting_value}; {choice}, or train in mode anchored"
            raise PermanentError(msg)
    foreign = [name for name in _NEVER_SET if config.get(name)]
    if foreign or config.get("bias", "none") != "none":
        msg = f"{folder} has {foreign[0] if foreign else 'bias'}, which no setting here makes; train in mode anchored"
        raise PermanentError(msg)
    if settings.target_modules == "auto":
        return
    adapter_modules, set_modules = targeted(base, LoraConfig(**_targets(config))), targeted(base, settings.target_modules)
    if adapter_modules != set_modules:
        name = min(adapter_modules ^ set_modules)
        side = "leaves out" if name in set_modules else "is on"
        msg = (
            f"{folder} {side} {name}, and training.target_modules is {settings.target_modules} "
            f"({len(adapter_modules ^ set_modules)} modules differ); set auto or {config.get('target_modules')}, or train in mode anchored"
        )
        raise PermanentError(msg)


def continued(base: Any, folder: Path, settings: TrainingSettings) -> PeftModel:
    """The base with the adapter in `folder` on it, to be trained on. Dropout is no shape: it is what the settings say."""
    config = LoraConfig.from_pretrained(folder)
    config.lora_dropout = settings.dropout
    return PeftModel.from_pretrained(base, folder, is_trainable=True, config=config)


def check_patterns(settings: TrainingSettings, targets: str | tuple[str, ...], base: Any) -> None:
    """A pattern that matches nothing would be ignored.

    Raises:
        PermanentError: a key of training.rank_pattern is no pattern, or matches no module that the adapter goes on.
    """
    modules = targeted(base, targets)
    for key in settings.rank_pattern:
        try:
            # As peft matches them.
            pattern = re.compile(rf"(.*\.)?({key})$")
        except re.error as error:
            msg = f"training.rank_pattern has the key {key!r}, which is no pattern: {error}"
            raise PermanentError(msg) from error
        if not any(pattern.match(name) for name in modules):
            names = ", ".join(sorted({name.rpartition(".")[2] for name in modules}))
            msg = f"training.rank_pattern has the key {key!r}, which matches no module that the adapter goes on; those end in {names}"
            raise PermanentError(msg)


def targeted(base: Any, targets: "str | tuple[str, ...] | LoraConfig") -> frozenset[str]:
    """Names of the base's linear layers that an adapter with these targets goes on."""
    linear = {name: module for name, module in base.named_modules() if isinstance(module, torch.nn.Linear)}
    if targets == "all-linear":
        return frozenset(name for name, module in linear.items() if module is not base.get_output_embeddings())
    config = (
        targets if isinstance(targets, LoraConfig) else LoraConfig(target_modules=targets if isinstance(targets, str) else list(targets))
    )
    return frozenset(name for name in linear if check_target_module_exists(config, name))


def plain_config(folder: Path) -> dict[str, Any]:
    """The adapter's configuration.

    Raises:
        PermanentError: it is missing, is no LoRA, or carries whole modules.
    """
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text())
    except (OSError, ValueError) as error:
        msg = f"{folder / CONFIG_FILE} cannot be read: {error}"
        raise PermanentError(msg) from error
    if config.get("peft_type") != "LORA":
        msg = f"{folder} is of type {config.get('peft_type')!r}; the champion must be a LoRA adapter"
        raise PermanentError(msg)
    if config.get("modules_to_save"):
        msg = f"{folder} carries whole modules ({', '.join(config['modules_to_save'])}); vLLM does not serve modules_to_save: use a plain LoRA"
        raise PermanentError(msg)
    return config


def _targets(config: Mapping[str, Any]) -> dict[str, Any]:
    names = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")
    return {name: config[name] for name in names if config.get(name)}


def save(model: PeftModel, folder: Path, base_model: str, metadata: Mapping[str, str]) -> None:
    """The model's adapter as two files."""
    state = get_peft_model_state_dict(model, adapter_name="default", save_embedding_layers=False)
    write(folder, state, model.peft_config["default"].to_dict(), base_model, metadata)


def write(folder: Path, state: dict[str, Tensor], config: dict[str, Any], base_model: str, metadata: Mapping[str, str]) -> None:
    """The two files of an adapter. What peft keeps in sets is sorted: the name of an adapter is a hash of these bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: sorted(value) if isinstance(value, set) or name == "target_modules" else value for name, value in config.items()}
    plain |= {"base_model_name_or_path": base_model, "inference_mode": True}
    (folder / CONFIG_FILE).write_text(json.dumps(plain, indent=2, sort_keys=True, default=str) + "\n")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    (folder / TENSORS_FILE).write_bytes(_in_order(serialised(tensors, {"format": "pt", **metadata})))


def _in_order(body: bytes) -> bytes:
    """safetensors writes metadata in an order that chance decides, and equal adapters must have equal bytes."""
    size = int.from_bytes(body[:8], "little")
    header = json.loads(body[8 : 8 + size])
    text = json.dumps(header | {"__metadata__": dict(sorted(header["__metadata__"].items()))}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned
    return len(text).to_bytes(8, "little") + text + body[8 + size :]


def _header(file: Path) -> tuple[dict[str, str], set[int]]:
    """The file's metadata, and the ranks of its tensors."""
    try:
        with safe_open(file, framework="pt") as tensors:
            names = [name for name in tensors.keys() if "lora_A" in name]  # noqa: SIM118 - it is no mapping
            return tensors.metadata() or {}, {tensors.get_slice(name).get_shape()[0] for name in names}
    except (OSError, SafetensorError) as error:
        msg = f"{file} is no safetensors file ({error}); adapters are kept in nothing else, because loading other formats can run code"
        raise PermanentError(msg) from error
