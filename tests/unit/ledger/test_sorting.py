"""Rows are the same wherever they were laid out."""

import asyncio

from csqa_loop.ledger.sorting import LONG, Sorter
from csqa_loop.log.records import LogRecord
from tests import events as make


async def test_rows_made_elsewhere_are_those_made_here() -> None:
    bad = [LogRecord("csqa.feedback", 0, offset, b"c1", b"{") for offset in (3, 700)]
    records = [make.record(make.thumb(number) if number % 2 else make.answer(number), number) for number in range(LONG * 2)]
    for letter in bad:
        records[letter.offset] = letter
    sorter = Sorter(b"k" * 32)
    try:
        here = await sorter(records)
        if sorter._side._ready is not None:  # None where there is but one core
            await asyncio.wait_for(asyncio.wrap_future(sorter._side._ready), timeout=60)
        there = await sorter(records)
    finally:
        await sorter.close()
    assert there == here
    assert [letter.record for letter in there.letters] == bad
    assert there.records == [record for record in records if record not in bad]
    assert there.tables["events"]["place"].to_pylist() != []
    assert [there.records[place].offset for place in there.tables["feedback"]["place"].to_pylist()] == [
        record.offset for record in there.records if record.topic == "csqa.feedback"
    ]
