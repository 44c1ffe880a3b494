"""Records that wait on this machine's disk for the broker: appended, synced, read in order, and given up when they are delivered.

A spool is a folder of segment files. A record in a segment is its length, a checksum and itself; one that is whole and synced survives a crash,
and a torn one at the end is cut off. What was delivered is remembered in memory only: after a crash the records of one segment may be sent
again, which readers of the log drop by `event_id`.
"""

import contextlib
import fcntl
import logging
import os
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import orjson

from csqa_loop.errors import TransientError
from csqa_loop.files.durable import sync, write_atomically
from csqa_loop.log.records import Outgoing

_log = logging.getLogger(__name__)
_FRAME = struct.Struct(">II")
_SEGMENT_BYTES = 1024 * 1024
_SUFFIX = ".spool"


class SpoolFullError(TransientError):
    """No more fits until the broker takes what waits."""


@dataclass(frozen=True, slots=True)
class _Entry:
    offset: int
    length: int
    stamp_ms: int


@dataclass(slots=True)
class _Segment:
    path: Path
    number: int
    size: int = 0
    entries: deque[_Entry] = field(default_factory=deque)
    """Not delivered yet."""
    sealed: bool = False
    """Whether nothing more may be appended, because a write failed."""


class Spool:
    """One owner at a time; every method blocks on the disk and may be called from any thread."""

    def __init__(self, folder: Path, max_bytes: int, segment_bytes: int = _SEGMENT_BYTES) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._segments: deque[_Segment] = deque()
        self._guard = threading.Lock()
        self._lock_file: int | None = None
        self._output: int | None = None
        """The last segment, open for appending."""

    @property
    def events(self) -> int:
        """Records that wait."""
        return sum(len(segment.entries) for segment in tuple(self._segments))

    @property
    def size(self) -> int:
        """Bytes that the spool takes on disk."""
        return sum(segment.size for segment in tuple(self._segments))

    @property
    def oldest(self) -> float | None:
        """When the record that waits longest was accepted, in seconds since the epoch."""
        for segment in tuple(self._segments):
            with contextlib.suppress(IndexError):  # delivered meanwhile; waiting for the guard would mean waiting for the disk
                return segment.entries[0].stamp_ms / 1000
        return None

    def open(self) -> None:
        """Take the folder and find what waits there. Idempotent.

        Raises:
            TransientError: another process has it, or the disk refuses.
        """
        with self._guard:
            if self._lock_file is not None:
                return
            try:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                lock_file = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    self._take(lock_file)
                    self._recover()
                except BaseException:
                    os.close(lock_file)
                    raise
            except OSError as error:
                raise TransientError(f"the spool in {self.folder} cannot be used: {error}") from error
            self._lock_file = lock_file

    def close(self) -> None:
        """Give the folder back, with what waits in it. Idempotent."""
        with self._guard:
            self._close_output()
            self._segments.clear()
            if self._lock_file is not None:
                os.close(self._lock_file)  # which unlocks it
                self._lock_file = None

    def append(self, groups: Sequence[Sequence[Outgoing]]) -> int:
        """Take as many groups as there is room for, each whole, in order, and return their number once they would survive a crash.

        Raises:
            TransientError: the disk refuses, or the spool is not open; nothing was taken.
        """
        with self._guard:
            if self._lock_file is None:
                raise TransientError(f"the spool in {self.folder} is not open")
            stamp_ms, room = int(time.time() * 1000), self.max_bytes - self.size
            taken = 0
            frames: list[bytes] = []
            for group in groups:
                framed = [_framed(record, stamp_ms) for record in group]
                room -= sum(map(len, framed))
                if room < 0:
                    break
                frames += framed
                taken += 1
            if frames:
                try:
                    self._write(frames, stamp_ms)
                except OSError as error:
                    raise TransientError(f"the spool in {self.folder} cannot be written: {error}") from error
            return taken

    def head(self, most: int) -> list[Outgoing]:
        """The records that wait longest, in order: at most `most`, all of one segment.

        Raises:
            TransientError: the disk refuses.
        """
        with self._guard:
            segment = next((segment for segment in self._segments if segment.entries), None)
            if segment is None:
                return []
            entries = [entry for entry, _ in zip(segment.entries, range(most), strict=False)]
            try:
                with segment.path.open("rb") as file:
                    return [_record(file, entry) for entry in entries]
            except OSError as error:
                raise TransientError(f"the spool in {self.folder} cannot be read: {error}") from error

    def drop(self, count: int) -> None:
        """Forget the first `count` records: the log has them. A segment whose records are all delivered is removed."""
        with self._guard:
            while self._segments and (count or not self._segments[0].entries):
                segment = self._segments[0]
                while count and segment.entries:
                    segment.entries.popleft()
                    count -= 1
                if segment.entries:
                    return
                if len(self._segments) == 1:
                    self._close_output()
                self._segments.popleft()
                try:
                    segment.path.unlink(missing_ok=True)
                except OSError as error:
                    _log.error("%s cannot be removed, and will be sent again after a restart: %s", segment.path, error)

    def set_aside(self, record: Outgoing, reason: str) -> None:
        """Keep a record that the log refuses for good in a file of its own, where it holds up nobody."""
        digest = zlib.crc32(record.value)
        file = self.folder / f"{int(time.time() * 1000)}-{digest:08x}.refused"
        write_atomically(file, record.value)
        _log.error("the log refuses a record of %s: %s; it is kept in %s", record.topic, reason, file)

    def _take(self, lock_file: int) -> None:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TransientError(
                f"the spool in {self.folder} belongs to another process; give each gateway its own CSQA_SPOOL__FOLDER"
            ) from error

    def _recover(self) -> None:
        self._segments.clear()
        for path in sorted(path for path in self.folder.glob(f"*{_SUFFIX}") if path.stem.isdecimal()):
            segment = _Segment(path, int(path.name.removesuffix(_SUFFIX)), sealed=True)
            body = path.read_bytes()
            while (entry := _entry_at(body, segment.size)) is not None:
                segment.entries.append(entry)
                segment.size += _FRAME.size + entry.length
            if segment.size < len(body):
                # Nothing behind a torn record was accepted. It is kept all the same: a disk may have damaged what was.
                write_atomically(path.with_suffix(".damaged"), body[segment.size :])
                os.truncate(path, segment.size)
                sync(path)
                _log.warning("%s: %d bytes at its end are no whole record and were cut off", path, len(body) - segment.size)
            if segment.entries:
                self._segments.append(segment)
            else:
                path.unlink()
        if self._segments:
            _log.info("the spool in %s holds %d events that wait for the broker", self.folder, self.events)

    def _write(self, frames: list[bytes], stamp_ms: int) -> None:
        segment = self._segments[-1] if self._segments else None
        if segment is None or segment.sealed or segment.size >= self._segment_bytes or self._output is None:
            segment = self._begin_segment(segment.number + 1 if segment else 1)
        assert self._output is not None
        body = b"".join(frames)
        try:
            written = 0
            while written < len(body):
                written += os.write(self._output, body[written:])
            os.fsync(self._output)
        except OSError:
            # After a failed sync nobody knows what the disk holds: nothing more is appended behind it.
            segment.sealed = True
            with contextlib.suppress(OSError):
                os.ftruncate(self._output, segment.size)
            raise
        for frame in frames:
            segment.entries.append(_Entry(segment.size, len(frame) - _FRAME.size, stamp_ms))
            segment.size += len(frame)

    def _begin_segment(self, number: int) -> _Segment:
        self._close_output()
        segment = _Segment(self.folder / f"{number:012d}{_SUFFIX}", number)
        output = os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            sync(self.folder)
        except OSError:
            os.close(output)
            raise
        self._output = output
        self._segments.append(segment)
        return segment

    def _close_output(self) -> None:
        if self._output is not None:
            os.close(self._output)
            self._output = None


def _framed(record: Outgoing, stamp_ms: int) -> bytes:
    head = orjson.dumps([record.topic, (record.key or b"").decode(), [[name, value.hex()] for name, value in record.headers], stamp_ms])
    body = head + b"\n" + record.value
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def _entry_at(segment: bytes, offset: int) -> _Entry | None:
    """The whole record at `offset`; None where there is none."""
    if len(segment) - offset < _FRAME.size:
        return None
    length, checksum = _FRAME.unpack_from(segment, offset)
    body = segment[offset + _FRAME.size : offset + _FRAME.size + length]
    if not length or len(body) < length or zlib.crc32(body) != checksum:
        return None
    return _Entry(offset, length, orjson.loads(body.partition(b"\n")[0])[3])


def _record(file: BinaryIO, entry: _Entry) -> Outgoing:
    file.seek(entry.offset + _FRAME.size)
    head, _, value = file.read(entry.length).partition(b"\n")
    topic, key, headers, _ = orjson.loads(head)
    return Outgoing(topic, key.encode(), value, tuple((name, bytes.fromhex(text)) for name, text in headers))
