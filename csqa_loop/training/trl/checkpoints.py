"""Checkpoints that a killed run continues from: whole, unchanged, and made by the same libraries."""

import hashlib
import importlib.metadata
import json
import logging
import shutil
from pathlib import Path

from csqa_loop.errors import PermanentError

_log = logging.getLogger(__name__)
_SEAL = "seal.json"
LIBRARIES = ("torch", "transformers", "trl", "peft", "safetensors")


def library_versions() -> dict[str, str]:
    """Versions of what shapes the result."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def seal(checkpoint: Path, base: str) -> None:
    """Say that the checkpoint is whole, and of the base with this fingerprint: the hash of each of its files, written last."""
    files = {str(file.relative_to(checkpoint)): _digest(file) for file in sorted(checkpoint.rglob("*")) if file.is_file()}
    (checkpoint / _SEAL).write_text(json.dumps({"versions": library_versions(), "base": base, "files": files}))


def newest(folder: Path, base: str) -> Path | None:
    """The latest checkpoint that can be trusted. The others, of a process that died while it wrote or of other libraries, are removed.

    Raises:
        PermanentError: that checkpoint was trained on a base with another fingerprint than `base`.
    """
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    sound = []
    for checkpoint in checkpoints:
        reason = _fault(checkpoint)
        if reason:
            _log.warning("%s is not used: %s", checkpoint, reason)
            shutil.rmtree(checkpoint)
        else:
            sound.append(checkpoint)
    if not sound:
        return None
    of = json.loads((sound[0] / _SEAL).read_text())["base"]
    if of != base:
        msg = (
            f"{sound[0]} was trained on a base with the fingerprint {of[:16]}, and the base is {base[:16]} now: restore it, or remove {folder} to "
            "train anew"
        )
        raise PermanentError(msg)
    return sound[0]


def _fault(checkpoint: Path) -> str:
    try:
        seal = json.loads((checkpoint / _SEAL).read_text())
        if seal["versions"] != library_versions():
            return "other versions of the libraries wrote it"
        if "base" not in seal:
            return "it does not say which base it is of"
        wrong = [name for name, digest in seal["files"].items() if _digest(checkpoint / name) != digest]
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing; its process died while it wrote"
    except (ValueError, KeyError) as error:
        return f"its seal cannot be read: {error!r}"
    return f"{wrong[0]} has another content than when it was written" if wrong else ""


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
