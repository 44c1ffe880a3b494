"""Where the loop stands in the log, and up to which moment."""

from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.events import now
from csqa_loop.ledger.position import Position
from csqa_loop.log.records import LogRecord
from csqa_loop.settings import KafkaSettings


def lagging(timestamps: list[int]) -> Position:
    """One record of each partition is taken and another one waits."""
    consumer: Any = SimpleNamespace(highwater=lambda _: 9)
    parts: Any = None
    position = Position(parts, parts, "", KafkaSettings(), consumer=lambda: consumer, written=parts, clock=now, topics=("csqa.chats",))
    records = [LogRecord("csqa.chats", number, 0, None, None, stamp) for number, stamp in enumerate(timestamps)]
    position._next = {TopicPartition("csqa.chats", number): 0 for number in range(len(timestamps))}
    position.advance(records)
    return position


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4))
def test_no_time_that_a_producer_claims_stops_the_loop_or_leads_beyond_now(timestamps: list[int]) -> None:
    position = lagging(timestamps)
    first = position.horizon()
    assert first <= position.horizon() <= now()


def test_a_partition_that_lags_holds_the_moment_back() -> None:
    assert lagging([1_000_000, 2_000_000]).horizon().timestamp() == 1000.0
