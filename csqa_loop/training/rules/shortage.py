"""What libraries say when the machine lacks something."""

from typing import Literal

_DISK = ("No space left on device", "unexpected pos", "PytorchStreamWriter failed writing", "basic_ios::clear")
"""All but the first are how torch ends a checkpoint."""
_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "Cannot allocate memory",
    "out of memory",
    "STATUS_ALLOC_FAILED",
    "failed to map segment",
    "Memory allocation still failed",
)
"""Torch, CUDA and its libraries, the loader, OpenBLAS."""


def shortage(words: str) -> Literal["disk", "memory"] | None:
    """What there is too little of, where an error message is known to say so."""
    if any(phrase in words for phrase in _DISK):
        return "disk"
    return "memory" if any(phrase in words for phrase in _MEMORY) else None
