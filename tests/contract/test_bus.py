"""What every bus promises: the fake, and the real one on each broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from csqa_loop.errors import PermanentError
from csqa_loop.events import AnswerGiven, ArmExposed, ChatMessage, FeedbackGiven, PolicyPublished, PolicyWithdrawn, now, topics
from csqa_loop.events.wire import decode
from csqa_loop.log import KafkaBus, Record, Spool, SpooledBus, read_to_end
from csqa_loop.log.bus import Bus
from csqa_loop.log.records import microseconds
from csqa_loop.settings import KafkaSettings
from tests.brokers import Broker
from tests.fakes.bus import MemoryBus
from tests.waiting import eventually


@dataclass
class Subject:
    """A bus, and how a test sees what is in the log."""

    bus: Bus
    read: Callable[[str], Awaitable[list[Record]]]


@pytest.fixture(
    params=[
        "memory",
        "memory behind a spool",
        "memory away, then back",
        "embedded",
        "embedded behind a spool",
        pytest.param("kafka", marks=pytest.mark.kafka),
        pytest.param("kafka behind a spool", marks=pytest.mark.kafka),
    ]
)
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    where, _, how = request.param.partition(" ")
    spool = Spool(tmp_path / "spool", 64 * 1024 * 1024)
    if where == "memory":
        memory = MemoryBus()
        spooled = SpooledBus(memory, spool, after_seconds=0.05)

        async def remembered(topic: str) -> list[Record]:
            memory.release()
            await eventually(lambda: not spooled.waiting().events, "the spool is empty")
            return memory.of_topic(topic)

        await spooled.start()
        if how == "away, then back":
            memory.hold()
        yield Subject(spooled if how else memory, remembered)
        memory.release()
        await spooled.stop()
        return
    broker: Broker = request.getfixturevalue(f"{where}_broker")
    settings = KafkaSettings()

    async def logged(topic: str) -> list[Record]:
        return [record async for record in read_to_end(broker.servers, settings, [topic])]

    kafka = KafkaBus(settings, broker.servers)
    bus = SpooledBus(kafka, spool, after_seconds=2.0) if how else kafka
    await bus.start()
    await bus.ensure_topics()
    yield Subject(bus, logged)
    await bus.stop()


def withdrawn(policy_id: str, reason: str = "") -> PolicyWithdrawn:
    return PolicyWithdrawn(policy_id=policy_id, reason=reason, occurred_at=now())


async def test_what_was_published_is_in_the_log_with_its_key(subject: Subject) -> None:
    event = FeedbackGiven(conversation_id=f"c-{uuid4()}", message_id="m", user="u", thumb="down", comment="不对", occurred_at=now())
    await subject.bus.publish(event)
    [record] = [record for record in await subject.read(topics.FEEDBACK) if record.key == event.key.encode()]
    assert decode(record.topic, record.value) == event
    assert record.value == event.to_json()
    assert abs(record.timestamp_ms / 1000 - event.occurred_at.timestamp()) < 60


async def test_events_of_one_key_keep_their_order(subject: Subject) -> None:
    policy = f"p-{uuid4()}"
    sent = [withdrawn(policy, str(number)) for number in range(50)]
    await subject.bus.publish(*sent[:20])
    for event in sent[20:40]:
        await subject.bus.publish(event)
    await subject.bus.publish(*sent[40:])
    read = [record for record in await subject.read(topics.POLICIES) if record.key == policy.encode()]
    assert [decode(record.topic, record.value) for record in read] == sent
    assert len({record.partition for record in read}) == 1
    assert [record.offset for record in read] == sorted({record.offset for record in read})


async def test_one_publish_takes_events_of_several_topics(subject: Subject) -> None:
    conversation, user = f"c-{uuid4()}", "u-1"
    exposed = ArmExposed(message_id="m", conversation_id=conversation, user=user, occurred_at=now())
    answered = AnswerGiven(
        message_id="m",
        conversation_id=conversation,
        user=user,
        question="?",
        messages=(ChatMessage(role="user", content="?"),),
        answer="!",
        occurred_at=now(),
    )
    thumb = FeedbackGiven(conversation_id=conversation, message_id="m", user=user, thumb="up", occurred_at=now())
    await subject.bus.publish(exposed, thumb, answered)
    chats = [decode(record.topic, record.value) for record in await subject.read(topics.CHATS) if record.key == conversation.encode()]
    thumbs = [decode(record.topic, record.value) for record in await subject.read(topics.FEEDBACK) if record.key == conversation.encode()]
    assert chats == [exposed, answered]
    assert thumbs == [thumb]


async def test_publishing_at_the_same_time_loses_and_doubles_nothing(subject: Subject) -> None:
    mark = uuid4()
    sent = [withdrawn(f"{mark}-{number % 17}", str(number)) for number in range(300)]
    await asyncio.gather(*(subject.bus.publish(event) for event in sent))
    read = [record.value for record in await subject.read(topics.POLICIES) if record.key and record.key.startswith(str(mark).encode())]
    assert sorted(value for value in read if value) == sorted(event.to_json() for event in sent)


@pytest.mark.parametrize("subject", ["memory", "embedded", pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
async def test_what_is_carried_over_from_a_former_log_says_since_when_it_was_known(subject: Subject) -> None:
    carried, fresh = withdrawn(f"p-{uuid4()}"), withdrawn(f"p-{uuid4()}")
    moment = now() - timedelta(days=400, microseconds=1)
    await subject.bus.carry((carried, moment))
    await subject.bus.publish(fresh)
    found = {record.key: record for record in await subject.read(topics.POLICIES)}
    record = found[carried.key.encode()]
    assert decode(record.topic, record.value) == carried
    assert record.carried_us == microseconds(moment)
    assert found[fresh.key.encode()].carried_us is None


async def test_publishing_nothing_is_done_at_once(subject: Subject) -> None:
    await subject.bus.publish()


async def test_a_record_just_below_the_limit_is_taken(subject: Subject) -> None:
    event = indexed_of_bytes(topics.MAX_RECORD_BYTES - 4096)
    await subject.bus.publish(event)
    [record] = [record for record in await subject.read(topics.CHUNKS) if record.key == event.key.encode()]
    assert record.value == event.to_json()


async def test_a_record_over_the_limit_is_refused_by_name_and_nothing_is_written(subject: Subject) -> None:
    small, large = withdrawn(f"p-{uuid4()}"), indexed_of_bytes(topics.MAX_RECORD_BYTES)
    with pytest.raises(PermanentError, match=f"PolicyIndexed {large.event_id}.*{topics.MAX_RECORD_BYTES}"):
        await subject.bus.publish(small, large)
    assert not [record for record in await subject.read(topics.POLICIES) if record.key == small.key.encode()]
    await subject.bus.publish(small)
    assert [record for record in await subject.read(topics.POLICIES) if record.key == small.key.encode()]


async def test_a_policy_of_the_largest_size_is_taken(subject: Subject) -> None:
    text = "政" * (topics.MAX_POLICY_BYTES // 3)
    event = PolicyPublished(policy_id=f"p-{uuid4()}", version="0" * 12, title="t", text=text, occurred_at=now())
    await subject.bus.publish(event)
    [record] = [record for record in await subject.read(topics.POLICIES) if record.key == event.key.encode()]
    assert decode(record.topic, record.value) == event


def indexed_of_bytes(size: int):
    """A PolicyIndexed whose JSON has about `size` bytes that do not compress."""
    import random

    from csqa_loop.events import Chunk, PolicyIndexed

    noise = random.Random(7)
    vector = noise.randbytes(size // 2).hex()
    chunk = Chunk(chunk_id="c", section="s", text="t", vector=vector)
    return PolicyIndexed(policy_id=f"p-{uuid4()}", version="0" * 12, encoder="e", dimension=1, chunks=(chunk,), occurred_at=now())
