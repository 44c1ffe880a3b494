"""Room that is kept for a full disk: given up when a write is refused, so that orders of operators can still be taken and carried out."""

import logging
import os
import shutil
from pathlib import Path

_log = logging.getLogger(__name__)
_NAME = "reserve"
_MANY = 3
"""So many times its size must be free before it is set aside: never the last room of a disk."""


class Reserve:
    """A file of a fixed size in the ledger's folder, which holds nothing."""

    def __init__(self, folder: Path, size: int) -> None:
        """`size` in bytes; 0: none."""
        self._file = folder / _NAME
        self._size = size

    @property
    def held(self) -> bool:
        """Whether the room is set aside, or none is wanted."""
        return self._size == 0 or self._file.exists()

    @property
    def free(self) -> int:
        """Bytes that are free on the disk."""
        return shutil.disk_usage(self._file.parent).free

    def hold(self) -> None:
        """Set the room aside, where there is enough. A disk that refuses is not asked again before the next call."""
        if self.held or self.free < _MANY * self._size:
            return
        try:
            with self._file.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError:
            self._file.unlink(missing_ok=True)

    def give_up(self) -> bool:
        """Make room; False where there is none to give."""
        if self._size == 0 or not self._file.exists():
            return False
        self._file.unlink()
        _log.error(
            "the disk of %s is full: the %d MB that were set aside for that are free now", self._file.parent, self._size // 1_000_000
        )
        return True

    @property
    def trouble(self) -> str | None:
        """Why the disk must be looked after; None while the room is set aside."""
        if self.held:
            return None
        return (
            f"the disk of {self._file.parent} is full or nearly: {self.free / 1e6:.0f} MB are free; make room until {_MANY * self._size / 1e6:.0f} MB are, "
            "the loop goes on by itself"
        )
