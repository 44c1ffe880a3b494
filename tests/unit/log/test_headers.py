"""Headers with any bytes as names: the records beside them are read, and theirs too."""

import pytest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.log.headers import LenientRecords
from tests.odd_records import OddName


def batch(first: int, names: list[bytes | None], compression: int) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(
        magic=2, compression_type=compression, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1_000_000
    )  # fmt: skip
    for offset, name in enumerate(names):
        headers = [] if name is None else [("plain", None), (OddName(name), b"\xff")]
        builder.append(offset, timestamp=1, key=b"\xffk", value=b"v%d" % offset, headers=headers)
    raw = bytearray(builder.build())
    raw[:8] = first.to_bytes(8, "big")  # the broker's own offset, which no checksum covers
    return bytes(raw)


NAMES = st.lists(st.one_of(st.none(), st.just(b"ok"), st.just(b"\xff\xfe"), st.binary(max_size=8)), min_size=1, max_size=5)


@given(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from([0, 1]))
def test_every_record_is_read_once_and_in_order(batches: list[list[bytes | None]], compression: int) -> None:
    data, expected = b"", []
    for number, names in enumerate(batches):
        data += batch(100 * number, names, compression)
        expected += [(100 * number + offset, b"v%d" % offset) for offset in range(len(names))]
    records = LenientRecords(data)
    assert records.size_in_bytes() == MemoryRecords(data).size_in_bytes()
    read = []
    while records.has_next():
        one = records.next_batch()
        assert one is not None
        assert one.validate_crc()
        read += [(record.offset, record.value) for record in one]
        assert one.next_offset > one.base_offset
    assert read == expected
    assert records.next_batch() is None


def test_the_library_still_needs_this() -> None:
    """Where it does not any more, delete the module."""
    one = MemoryRecords(batch(0, [b"\xff\xfe"], 0)).next_batch()
    with pytest.raises(UnicodeDecodeError):
        list(one)
