"""An adapter outside `var`: a folder that is seen whole or not at all, with its run's manifest in it."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from csqa_loop.errors import PermanentError
from csqa_loop.files.durable import whole_folder
from csqa_loop.training.adapters import CONFIG_FILE, TENSORS_FILE
from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.manifest import Manifest

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Export:
    """An export that `csqa adapters export` wrote."""

    manifest: Manifest
    whole_model: bool
    """Base and adapter in one; otherwise the adapter alone."""


@contextmanager
def export_to(target: Path) -> Iterator[Path]:
    """A draft beside `target` to fill. It becomes `target` when the block ends, on disk, and is gone where the block fails.

    Raises:
        PermanentError: `target` is there and no empty folder, or became so meanwhile; or it cannot be written.
    """
    target = target.resolve()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise _not_empty(target)
    try:
        with whole_folder(target) as draft:
            yield draft
    except OSError as error:
        if error.errno in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR} and target.exists():
            raise _not_empty(target) from error
        msg = f"{target} cannot be written: {error}"
        raise PermanentError(msg) from error


def copy_adapter(adapter: Path, draft: Path) -> None:
    """The adapter's two files."""
    for name in (CONFIG_FILE, TENSORS_FILE):
        shutil.copyfile(adapter / name, draft / name)


def copy_manifest(run: RunDirectory, draft: Path) -> None:
    """The run's manifest, by which `read_export` recognises the run."""
    shutil.copyfile(run.path / MANIFEST, draft / MANIFEST)


def read_export(folder: Path) -> Export:
    """The export in `folder`.

    Raises:
        PermanentError: it is no export.
    """
    manifest = RunDirectory(folder).manifest()
    if manifest is None:
        msg = f"{folder} has no {MANIFEST}; name a folder that `csqa adapters export` wrote"
        raise PermanentError(msg)
    whole, alone = (folder / "config.json").is_file(), (folder / CONFIG_FILE).is_file()
    if whole == alone:
        files = "both a model's config.json and" if whole else "neither a model's config.json nor"
        msg = f"{folder} has {files} an adapter's {CONFIG_FILE}; export {manifest.adapter} again"
        raise PermanentError(msg)
    return Export(manifest, whole)


def _not_empty(target: Path) -> PermanentError:
    return PermanentError(f"{target} is there already and is not an empty folder; name another one, or remove it")
