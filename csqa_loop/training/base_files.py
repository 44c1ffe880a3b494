"""The base model's files: which of them make it what it is, and one number for all of them. Reading them loads no library for models."""

import functools
import hashlib
from pathlib import Path

_SUFFIXES = {".safetensors", ".json", ".jinja", ".model", ".txt"}
"""Weights, configuration, chat template and vocabulary: whatever changes what the model says."""


def files_of(folder: Path) -> list[Path]:
    """The files of a model's folder that change its output, in order of name."""
    return sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES)


def fingerprint(folder: Path) -> str:
    """SHA-256 over the files' names and contents."""
    digest = hashlib.sha256()
    for file in files_of(folder):
        digest.update(f"{file.name}\n{file.stat().st_size}\n".encode())
        with file.open("rb") as handle:
            while block := handle.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def fingerprint_here(name: str) -> str:
    """The fingerprint of a base that lies on this machine, as a folder or in the hub's cache; empty where it does not. Read again only when
    a file has changed.
    """
    folder = Path(name)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        try:
            cached = try_to_load_from_cache(name, "config.json")
        except ValueError:  # not a name that the hub could have
            return ""
        if not isinstance(cached, str):
            return ""
        folder = Path(cached).parent
    return _read_once(folder, tuple((file.name, stat.st_size, stat.st_mtime_ns) for file in files_of(folder) for stat in (file.stat(),)))


@functools.lru_cache(maxsize=4)
def _read_once(folder: Path, _state: tuple[tuple[str, int, int], ...]) -> str:
    return fingerprint(folder)
