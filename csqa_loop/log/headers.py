"""Records whose headers have names that are no UTF-8. Kafka takes them, and aiokafka reads no record of their partition from there on."""

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_LENGTH_AT, _LENGTH_ENDS = 8, 12
"""Where a batch has its length: of what comes after it."""


class _Lenient(bytearray):
    """Bytes whose slices become text whatever they are."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _Lenient(found) if isinstance(place, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return bytes(self).decode(encoding, errors if errors != "strict" else "replace")


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka is untyped
    """A batch in Python, which is slow and can be told how to read names."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Lenient(self._buffer)


class _Batch:
    """aiokafka's batch; from the first record that it cannot read on, the lenient one's records."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        read = -1
        try:
            for record in self._batch:
                read = record.offset
                yield record
        except UnicodeDecodeError:
            yield from (record for record in _LenientBatch(bytearray(self._raw)) if record.offset > read)


class LenientRecords:
    """aiokafka's MemoryRecords."""

    def __init__(self, data: bytes) -> None:
        self._records = MemoryRecords(data)
        self._data = memoryview(data)
        self._start = 0

    def size_in_bytes(self) -> int:
        """As aiokafka's."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """As aiokafka's."""
        return bool(self._records.has_next())

    def next_batch(self) -> _Batch | None:
        """As aiokafka's, with records whose headers' names are no UTF-8."""
        batch = self._records.next_batch()
        start = self._start
        self._start += _LENGTH_ENDS + int.from_bytes(self._data[start + _LENGTH_AT : start + _LENGTH_ENDS], "big")
        return None if batch is None else _Batch(batch, self._data[start : self._start])


def read_any_headers() -> None:
    """Let every consumer of this process read such records: aiokafka has no other way to tell it."""
    fetcher.MemoryRecords = LenientRecords
