"""Files and folders that are seen whole or not at all, also after a crash: written beside their place, synced, moved there."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from csqa_loop.errors import PermanentError

R = TypeVar("R")


def sha256_of(file: Path) -> str:
    """Hex SHA-256 of a file."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_atomically(file: Path, body: bytes) -> None:
    """Replace `file`: a reader sees the old one or the whole new one."""
    write_streamed(file, lambda handle: handle.write(body))


def write_streamed(file: Path, write: Callable[[BinaryIO], R]) -> R:
    """As `write_atomically` for what is too large for memory: `write` is given the open file; what it returns is returned."""
    with _draft_file(file, 0o666) as (draft, handle):
        result = write(handle)
        _close_durably(handle)
        draft.replace(file)
    sync(file.parent)
    return result


def write_once(file: Path, body: bytes) -> None:
    """Make `file`, for its owner's eyes only, unless it is there: of writers that start together one wins, and all find its content."""
    with _draft_file(file, 0o600) as (draft, handle):
        handle.write(body)
        _close_durably(handle)
        try:
            os.link(draft, file)
        except FileExistsError:
            return
    sync(file.parent)


def write_rows(target: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line and return their number; `-` is stdout. A reader sees the old file or the whole new one.

    Raises:
        PermanentError: the folder is missing or refuses.
    """
    if str(target) == "-":
        return _write_lines(sys.stdout.write, rows)
    try:
        return write_streamed(target, lambda handle: _write_lines(lambda line: handle.write(line.encode()), rows))
    except OSError as error:
        raise PermanentError(
            f"{target} cannot be written: {error.strerror}; name a file in a folder that exists and can be written"
        ) from error


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A draft beside `target` to fill. It becomes `target` when the block ends, on disk, and is removed where the block fails.

    Raises:
        OSError: the disk refuses, or `target` is there and no empty folder.
    """
    draft = _draft_of(target)
    shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed and had this one's number
    try:
        draft.mkdir(parents=True)
        yield draft
        sync_whole(draft)
        draft.rename(target)
        sync(target.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def sync_whole(folder: Path) -> None:
    """Sync all that `folder` holds, to survive a power cut."""
    for path in (*folder.rglob("*"), folder):
        sync(path)


def sync(path: Path) -> None:
    """Make a file's content, or renames inside a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_lines(write: Callable[[str], object], rows: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    for row in rows:
        write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count


@contextmanager
def _draft_file(file: Path, mode: int) -> Iterator[tuple[Path, BinaryIO]]:
    draft = _draft_of(file)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as handle:
            yield draft, handle
    finally:
        draft.unlink(missing_ok=True)


def _close_durably(handle: BinaryIO) -> None:
    handle.flush()
    os.fsync(handle.fileno())
    handle.close()


def _draft_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")
