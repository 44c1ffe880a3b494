"""When the indexer acknowledges, and when it must not."""

import asyncio
from datetime import UTC, datetime

import pytest

from csqa_loop.errors import PermanentError
from csqa_loop.events import ChunksWithdrawn, Event, PolicyIndexed, PolicyWithdrawn
from csqa_loop.knowledge.rules.publishing import publication
from csqa_loop.log import Record
from csqa_loop.settings import Settings
from streams import indexer
from streams.indexer import IndexerStream
from tests.fakes.bus import MemoryBus
from tests.fakes.encoder import FakeEncoder

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Batch:
    """What FastStream hands over; remembers what the bus held when it was acknowledged."""

    def __init__(self, bus: MemoryBus, *values: Event | bytes | None) -> None:
        self._bus = bus
        self.held_at_ack: list[int] = []
        self.raw_message = tuple(
            Record("csqa.policies", 0, offset, None, value.to_json() if isinstance(value, Event) else value, 0)
            for offset, value in enumerate(values)
        )

    async def ack(self) -> None:
        self.held_at_ack.append(len(self._bus.records))


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
async def stream(bus: MemoryBus, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch) -> IndexerStream:
    monkeypatch.setattr(indexer, "_FIRST_PAUSE", 0.01)
    made = IndexerStream(Settings(), encoder, bus)  # type: ignore[arg-type]
    made._assignments.settled.set()
    return made


async def test_nothing_is_acknowledged_before_it_is_published(stream: IndexerStream, bus: MemoryBus) -> None:
    bus.fail(2)
    batch = Batch(bus, publication("returns", "14 days", now=NOW), publication("fees", "5 EUR", now=NOW))
    await stream.take(batch)  # type: ignore[arg-type]
    assert batch.held_at_ack == [2]
    assert [event.policy_id for event in bus.of_type(PolicyIndexed)] == ["returns", "fees"]
    assert stream.health()["trouble"] is None


async def test_a_batch_waits_until_the_state_is_that_of_this_log(stream: IndexerStream, bus: MemoryBus) -> None:
    stream._assignments.settled.clear()
    batch = Batch(bus, publication("returns", "14 days", now=NOW))
    taking = asyncio.create_task(stream.take(batch))  # type: ignore[arg-type]
    for _ in range(5):
        await asyncio.sleep(0)
    assert bus.records == batch.held_at_ack == []
    stream._assignments.settled.set()
    await taking
    assert batch.held_at_ack == [1]


async def test_a_bad_record_costs_its_neighbours_nothing(stream: IndexerStream, bus: MemoryBus, caplog: pytest.LogCaptureFixture) -> None:
    batch = Batch(bus, b"{", publication("returns", "14 days", now=NOW), None, b'{"type": "Unknown"}')
    await stream.take(batch)  # type: ignore[arg-type]
    assert batch.held_at_ack == [1]
    assert [f"@{offset}" in caplog.text for offset in range(4)] == [True, False, True, True]


async def test_only_the_last_word_on_a_policy_is_work(stream: IndexerStream, bus: MemoryBus, encoder: FakeEncoder) -> None:
    newer, older = publication("returns", "30 days", now=NOW), publication("returns", "14 days", now=NOW)
    await stream.take(Batch(bus, newer, older))  # type: ignore[arg-type]
    await stream.take(Batch(bus, older))  # type: ignore[arg-type]
    assert [event.version for event in bus.of_type(PolicyIndexed)] == [older.version]
    assert encoder.passages == ["14 days"]
    withdrawn = PolicyWithdrawn(occurred_at=NOW, policy_id="returns")
    await stream.take(Batch(bus, newer, withdrawn))  # type: ignore[arg-type]
    assert isinstance(bus.events[-1], ChunksWithdrawn)
    assert len(bus.events) == 2


async def test_a_policy_that_no_record_can_hold_does_not_hold_up_the_others(
    stream: IndexerStream, bus: MemoryBus, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = bus.publish

    async def limited(*events: Event) -> None:
        if any(event.key == "huge" for event in events):
            raise PermanentError("PolicyIndexed huge is larger than a record may be")
        await publish(*events)

    monkeypatch.setattr(bus, "publish", limited)
    batch = Batch(bus, *(publication(name, name, now=NOW) for name in ("a", "huge", "b")))
    await stream.take(batch)  # type: ignore[arg-type]
    assert [event.policy_id for event in bus.of_type(PolicyIndexed)] == ["a", "b"]
    assert batch.held_at_ack == [2]
    assert "policy huge cannot be searched" in caplog.text
