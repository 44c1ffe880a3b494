"""JSON lines that appear whole or not at all, however many there are."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from csqa_loop.errors import PermanentError


def write_rows(target: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line and return their number; `-` is stdout. A reader sees the old file or the whole new one.

    Raises:
        PermanentError: the folder is missing or refuses.
    """
    if str(target) == "-":
        return _write(sys.stdout, rows)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            with draft.open("w", encoding="utf-8") as handle:
                count = _write(handle, rows)
                handle.flush()
                os.fsync(handle.fileno())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise PermanentError(
            f"{target} cannot be written: {error.strerror}; name a file in a folder that exists and can be written"
        ) from error
    return count


def _write(handle: TextIO, rows: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    for row in rows:
        handle.write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count
