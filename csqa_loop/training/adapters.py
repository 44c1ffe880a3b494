"""Adapter folders: immutable, named by their content, moved into place whole."""

import errno
import hashlib
import logging
import shutil
from pathlib import Path

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.files.durable import sync, sync_whole, whole_folder
from csqa_loop.training.tensors import check_tensors

_log = logging.getLogger(__name__)
CONFIG_FILE = "adapter_config.json"
TENSORS_FILE = "adapter_model.safetensors"


def adapter_name(folder: Path) -> str:
    """`a-` and the first 16 hex digits of the SHA-256 over the folder's two files, each behind its name and length.

    Raises:
        PermanentError: a file is missing, or one too many is there (only these two are named by the content).
    """
    names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    if names != [CONFIG_FILE, TENSORS_FILE]:
        msg = f"{folder} holds {', '.join(names) or 'nothing'}; an adapter is exactly {CONFIG_FILE} and {TENSORS_FILE}"
        raise PermanentError(msg)
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, TENSORS_FILE):
        file = folder / name
        digest.update(f"{name}\n{file.stat().st_size}\n".encode())
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return f"a-{digest.hexdigest()[:16]}"


def install(folder: Path, adapters: Path) -> str:
    """Move a finished adapter to `adapters/<its name>` and return the name. One that is already there stays: same name, same bytes; what
    lies under the name with other bytes is damaged, and replaced.

    Raises:
        PermanentError: `folder` is no adapter, or one that no model server may load.
    """
    name = adapter_name(folder)
    check_tensors(folder / CONFIG_FILE, folder / TENSORS_FILE)
    adapters.mkdir(parents=True, exist_ok=True)
    sync_whole(folder)
    target = adapters / name
    if target.exists() and not _is_sound(target):
        _log.warning("%s does not have the bytes that its name says; it is replaced", target)
        shutil.rmtree(target)
    if not target.exists():
        try:
            _move(folder, target)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:  # another attempt was first, with the same bytes
                raise
    verify(adapters, name)
    shutil.rmtree(folder, ignore_errors=True)
    return name


def verify(adapters: Path, name: str) -> Path:
    """The folder of `name`.

    Raises:
        PermanentError: it is missing or holds other bytes than its name says.
    """
    folder = adapters / name
    if not folder.is_dir():
        msg = f"adapter {name} is not in {adapters}; copy it there, or train it again from its run directory"
        raise PermanentError(msg)
    actual = adapter_name(folder)
    if actual != name:
        msg = f"{folder} has the content of {actual}; adapters are never changed in place: restore it from its run"
        raise PermanentError(msg)
    return folder


class AdapterFolders:
    """The folders of adapters, checked against their names; one whose files were not touched since is not read again."""

    def __init__(self, adapters: Path) -> None:
        self._adapters = adapters
        self._good: dict[str, tuple[tuple[int, int, int], ...]] = {}

    def fault(self, name: str) -> str:
        """What is wrong with the folder of `name`; empty where it holds what its name says, and a model server may load it.

        Raises:
            TransientError: the disk does not tell.
        """
        try:
            marks = self._marks(name)
            if marks and self._good.get(name) == marks:
                return ""
            self._good.pop(name, None)
            folder = verify(self._adapters, name)
            check_tensors(folder / CONFIG_FILE, folder / TENSORS_FILE)
        except PermanentError as error:
            return str(error)
        except OSError as error:
            msg = f"adapter {name} in {self._adapters} cannot be read: {error}"
            raise TransientError(msg) from error
        self._good[name] = marks
        return ""

    def _marks(self, name: str) -> tuple[tuple[int, int, int], ...]:
        folder = self._adapters / name
        stats = [file.stat() for file in sorted(folder.iterdir())] if folder.is_dir() else []
        return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats)


def _is_sound(folder: Path) -> bool:
    try:
        return adapter_name(folder) == folder.name
    except PermanentError:
        return False


def _move(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # Another file system: copy beside the target first, so that a reader never sees half an adapter.
        with whole_folder(target) as draft:
            shutil.copytree(folder, draft, dirs_exist_ok=True)
    else:
        sync(target.parent)
