"""Whether an adapter's tensors can be given to a model server: a LoRA of the rank that its configuration says, and every number finite.

A model server takes an adapter with numbers that are none, and answers no request any more, for the base neither, until it is restarted.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize

from csqa_loop.errors import PermanentError

_parsed: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = deserialize
# The exponent of a number that is infinite or none has every bit set. As integers, since numpy has no bfloat16.
_EXPONENTS = {"F64": ("<u8", 0x7FF0_0000_0000_0000), "F32": ("<u4", 0x7F80_0000), "F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80)}


def check_tensors(config_file: Path, tensors_file: Path) -> None:
    """Return where a model server may load them.

    Raises:
        PermanentError: no configuration or tensors, no LoRA, another rank than the configuration says, or a number that is not finite.
    """
    ranks = _ranks(config_file)
    try:
        tensors = _parsed(tensors_file.read_bytes())
    except SafetensorError as error:
        raise PermanentError(f"{tensors_file} is no safetensors file ({error}); restore it from its run") from error
    if not any(".lora_A." in name for name, _ in tensors):
        raise PermanentError(f"{tensors_file} holds no LoRA matrices; an adapter is a LoRA in safetensors, as a training run makes it")
    for name, tensor in tensors:
        if ".lora_A." in name and tensor["shape"][0] not in ranks:
            raise PermanentError(
                f"{tensors_file}: {name} has rank {tensor['shape'][0]}, and {config_file.name} says {min(ranks)}; restore both from one run"
            )
        damaged = _not_finite(tensor)
        if damaged:
            raise PermanentError(
                f"{tensors_file}: {name} has {damaged} of {math.prod(tensor['shape'])} numbers that are infinite or none; "
                "train it again with a lower learning rate"
            )


def _ranks(config_file: Path) -> set[int]:
    try:
        config = json.loads(config_file.read_bytes())
        return {int(config["r"]), *(int(rank) for rank in (config.get("rank_pattern") or {}).values())}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PermanentError(f"{config_file} names no rank r ({type(error).__name__}: {error}); restore it from its run") from error


def _not_finite(tensor: dict[str, Any]) -> int:
    if tensor["dtype"] not in _EXPONENTS:
        return 0
    kind, exponent = _EXPONENTS[tensor["dtype"]]
    bits = np.frombuffer(tensor["data"], dtype=kind)
    return int(np.count_nonzero((bits & exponent) == exponent))
