"""A folder of documents on disk: what is read, what cannot be, and what is no document. No file goes unmentioned."""

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from csqa_loop.errors import PermanentError
from csqa_loop.events.topics import MAX_POLICY_BYTES

MARKDOWN_ENDINGS = (".md", ".markdown", ".mdown", ".mkd")
_LEFTOVER = re.compile(r"(.*~|~\$.*|#.*#|.*\.(swp|swo|tmp|bak|orig|rej|part|crdownload)|thumbs\.db|desktop\.ini)", re.IGNORECASE)
"""Copies that editors and systems leave beside a file: nobody means them as documents."""


@dataclass(slots=True)
class PolicyFolder:
    """A folder's documents by policy_id: the path without its ending, in Unicode's composed form (NFC)."""

    texts: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """policy_id, or a folder with `/` behind it -> why it cannot be read."""
    names: dict[str, str] = field(default_factory=dict)
    """policy_id -> the file."""
    skipped: dict[str, str] = field(default_factory=dict)
    """File -> why it is no document."""

    @property
    def skipped_ids(self) -> set[str]:
        """What the skipped files would be called, were they documents: their policies are not gone."""
        stems = {_policy_id(Path(name)) for name in self.skipped}
        return stems | {_policy_id(Path(stem)) for stem in stems if _is_markdown(Path(stem))} | {f"{name}/" for name in self.skipped}

    def name_of(self, policy_id: str) -> str:
        """The file that a policy is read from."""
        return self.names.get(unicodedata.normalize("NFC", policy_id), policy_id)


def read_folder(folder: Path) -> PolicyFolder:
    """The Markdown files under a folder, whatever the case of their ending. Hidden files and what editors leave behind are passed over.

    Raises:
        PermanentError: no such folder, or no Markdown file in it.
    """
    if not folder.is_dir():
        raise PermanentError(f"{folder} is not a folder; give the one that holds the policies' .md files")
    found = PolicyFolder()
    for file, trouble in _files(folder, found):
        name = file.relative_to(folder)
        if trouble:
            found.skipped[name.as_posix()] = trouble
            continue
        policy_id = _policy_id(name)
        if policy_id in found.names:
            found.texts.pop(policy_id, None)
            found.refused[policy_id] = (
                f"{found.names[policy_id]} and {name.as_posix()} are one policy_id ({policy_id}); rename or remove all but one"
            )
            found.names[policy_id] += f" and {name.as_posix()}"
            continue
        found.names[policy_id] = name.as_posix()
        try:
            found.texts[policy_id] = _read(file)
        except (PermanentError, OSError) as error:
            found.refused[policy_id] = str(error)
    if not found.texts and not found.refused:
        # An empty folder is a wrong path far more often than a shop without policies.
        others = f" (but {counted(found.skipped)})" if found.skipped else ""
        raise PermanentError(f"{folder} holds no .md file{others}; nothing is published and nothing withdrawn")
    return found


def counted(skipped: dict[str, str]) -> str:
    """How many files of each ending: `2 .docx, 1 .txt`."""
    endings = [Path(name).suffix.lower() or "without an ending" for name in skipped]
    return ", ".join(f"{endings.count(ending)} {ending}" for ending in sorted(set(endings)))


def _files(folder: Path, found: PolicyFolder) -> Iterator[tuple[Path, str]]:
    """(file, why it is no document or empty), in the order of their names."""

    def unreadable(error: OSError) -> None:
        name = unicodedata.normalize("NFC", Path(error.filename).relative_to(folder).as_posix()) + "/"
        found.refused[name] = str(error)
        found.names[name] = name

    for path, folders, files in os.walk(folder, onerror=unreadable):
        for name in sorted(folders):
            if (Path(path) / name).is_symlink() and not name.startswith("."):
                yield Path(path) / name, "a link to a folder; the files in it are not read"
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.startswith(".") or _LEFTOVER.fullmatch(name):
                continue
            file = Path(path) / name
            yield file, "" if _is_markdown(file) else f"no Markdown: its name does not end in {' or '.join(MARKDOWN_ENDINGS[:2])}"


def _is_markdown(file: Path) -> bool:
    return file.suffix.lower() in MARKDOWN_ENDINGS


def _policy_id(name: Path) -> str:
    return unicodedata.normalize("NFC", name.with_suffix("").as_posix())


def _read(file: Path) -> str:
    size = file.stat().st_size
    if size > MAX_POLICY_BYTES:
        raise PermanentError(f"it has {size} bytes; a policy may have {MAX_POLICY_BYTES} (1 MiB): split it")
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise PermanentError(f"it is not UTF-8 (byte {error.start}: {error.reason}); save it as UTF-8") from error
