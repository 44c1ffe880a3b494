"""What the indexer publishes for what it reads."""

from datetime import UTC, datetime

import pytest

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import ChunksWithdrawn, Event, PolicyIndexed, PolicyWithdrawn
from csqa_loop.knowledge.indexer import Indexer
from csqa_loop.knowledge.rules.publishing import publication
from csqa_loop.log import Record
from csqa_loop.settings import Settings
from tests.fakes.bus import MemoryBus
from tests.fakes.encoder import FakeEncoder

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def indexer(bus: MemoryBus, encoder: FakeEncoder) -> Indexer:
    return Indexer(Settings(), encoder, bus)


def records(*values: Event | bytes | None) -> list[Record]:
    return [
        Record("csqa.policies", 0, offset, None, value.to_json() if isinstance(value, Event) else value, 0)
        for offset, value in enumerate(values)
    ]


async def test_what_the_log_refused_is_published_by_the_next_try(indexer: Indexer, bus: MemoryBus) -> None:
    events = [publication("returns", "14 days", now=NOW), publication("fees", "5 EUR", now=NOW)]
    bus.fail(1)
    with pytest.raises(TransientError):
        await indexer.take(events)
    assert bus.records == []
    await indexer.take(events)
    await indexer.take(events)
    assert [event.policy_id for event in bus.of_type(PolicyIndexed)] == ["returns", "fees"]
    assert indexer.figures() == {"encoder": "fake/words", "policies": 2, "indexed": 2, "cached_chunks": 2, "unindexed": {}}


def test_a_bad_record_costs_its_neighbours_nothing(indexer: Indexer, caplog: pytest.LogCaptureFixture) -> None:
    policy = publication("returns", "14 days", now=NOW)
    assert indexer.news(records(b"{", policy, None, b'{"type": "Unknown"}')) == [policy]
    assert [f"@{offset}" in caplog.text for offset in range(4)] == [True, False, True, True]


async def test_only_the_last_word_on_a_policy_is_work(indexer: Indexer, bus: MemoryBus, encoder: FakeEncoder) -> None:
    newer, older = publication("returns", "30 days", now=NOW), publication("returns", "14 days", now=NOW)
    await indexer.take([newer, older])
    await indexer.take([older])
    assert [event.version for event in bus.of_type(PolicyIndexed)] == [older.version]
    assert encoder.passages == ["14 days"]
    await indexer.take([newer, PolicyWithdrawn(occurred_at=NOW, policy_id="returns")])
    assert isinstance(bus.events[-1], ChunksWithdrawn)
    assert len(bus.events) == 2


async def test_a_policy_that_no_record_can_hold_does_not_hold_up_the_others(
    indexer: Indexer, bus: MemoryBus, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = bus.publish

    async def limited(*events: Event) -> None:
        if any(event.key == "huge" for event in events):
            raise PermanentError("PolicyIndexed huge is larger than a record may be")
        await publish(*events)

    monkeypatch.setattr(bus, "publish", limited)
    await indexer.take([publication(name, name, now=NOW) for name in ("a", "huge", "b")])
    assert [event.policy_id for event in bus.of_type(PolicyIndexed)] == ["a", "b"]
    assert "policy huge cannot be searched" in caplog.text


async def test_many_documents_share_calls_of_the_encoder_and_a_bad_one_harms_none(
    indexer: Indexer, bus: MemoryBus, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    encode = encoder.encode_passages

    async def counting(texts: list[str]) -> object:
        if any("unspeakable" in text for text in texts):
            raise PermanentError("the endpoint refuses a text")
        calls.append(len(texts))
        return await encode(texts)

    monkeypatch.setattr(encoder, "encode_passages", counting)
    names = [f"p{number}" for number in range(100)]
    await indexer.take([publication(name, "unspeakable" if name == "p41" else f"text of {name}", now=NOW) for name in names])
    assert [event.policy_id for event in bus.of_type(PolicyIndexed)] == [name for name in names if name != "p41"]
    assert calls[0] == 1, "the first one does not wait"
    assert len(calls) < 45
    assert indexer.figures()["unindexed"] == {"p41": "the endpoint refuses a text"}
