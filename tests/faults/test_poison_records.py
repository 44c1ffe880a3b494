"""Poison in the log of a running loop: whatever a record is, the loop lives, its neighbours are taken and orders are carried out."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from csqa_loop import events as e
from csqa_loop.console.app import create_console
from csqa_loop.events.topics import BAD_CASES, CHATS, DEAD_LETTERS, DECISIONS, DEPLOYMENTS, FACT_TOPICS, FEEDBACK, MAX_RECORD_BYTES
from csqa_loop.ledger.invariants import ledger_hash
from csqa_loop.log.admin import ensure_topics
from csqa_loop.log.follower import Follower
from csqa_loop.settings import Settings
from streams.loop import LoopStream
from tests import events as make
from tests.adapter_folders import adapter_in
from tests.brokers import Broker
from tests.fakes.model_server import FakeModelServer
from tests.loops import finish_training, published, quick_settings, replayed, running, until, with_bus
from tests.odd_records import OddName
from tests.waiting import eventually

pytestmark = pytest.mark.fault(10, "poison in the log, and dead letters by hand")

LONE = rb'{"event_id": "\ud83d"}'
ODD = (
    (LONE, b"c1"), (rb'{"event_id": "\ud83d", "type": "\udc00"}', b"\xff\xfe"), (b"\xff\xfe\x00", None), (None, b"k"), (b"", b""),
    (b"[" * 100_000, b"c\x00"), (b'{"event_id": "' + b"x" * 500_000 + b'"}', b"k" * 200_000), (b"\xef\xbb\xbf{}", b"c1"),
)  # fmt: skip


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """On a broker of the test's own, empty."""
    broker: Broker = request.getfixturevalue({"embedded": "mortal_broker", "kafka": "mortal_kafka"}[request.param])
    return quick_settings(tmp_path, broker.servers)


async def send(settings: Settings, *records: tuple[str, bytes | None, bytes | None], **more: object) -> None:
    """As a foreign producer does: nothing is looked at."""
    await ensure_topics(settings.kafka_servers, settings.kafka)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_servers, max_request_size=MAX_RECORD_BYTES)
    await producer.start()
    try:
        for topic, value, key in records:
            await producer.send_and_wait(topic, value, key, **more)
    finally:
        await producer.stop()


async def ask(stream: LoopStream, method: str, path: str, **body: object) -> dict:
    app = create_console(stream.parts.console, stream.position, stream.health, lambda _: pytest.fail("the loop runs already"))
    headers = {"Authorization": f"Bearer {stream.parts.secrets.operator_key}"}
    sent = {"json": {"operator": "ann", "reason": "a test"} | body} if method == "POST" else {}
    transport = httpx.ASGITransport(app)
    async with asyncio.timeout(60), httpx.AsyncClient(transport=transport, base_url="http://console", headers=headers) as client:
        while (answer := await client.request(method, path, **sent)).status_code == 503:  # the group is being joined anew
            await stream.parts.ledger.next_batch(stream.parts.ledger.batches, 0.2)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def rolled_back(stream: LoopStream) -> None:
    """An order by hand, carried out."""
    order = await ask(stream, "POST", "/v1/operator/rollback", target="base")
    await until(stream, lambda s: s["deployment"]["champion"] == "base" and s["operators"]["order"] is None, "the roll-back")
    outcome = await ask(stream, "GET", f"/v1/operator/orders/{order['event_id']}")
    assert (outcome["state"], outcome["target"]) == ("carried_out", "base")


async def with_bad_champion(settings: Settings) -> None:
    """The log of a loop whose champion is an adapter."""
    await ensure_topics(settings.kafka_servers, settings.kafka)
    adapter = adapter_in(settings.adapters, b"tensors")
    run = e.TrainingRequested(
        occurred_at=make.at(0), run_id="r-1", attempt=1, reason="a test", champion="base", pair_ids=("p-1",), data_hash="h"
    )
    await with_bus(settings, lambda bus: bus.publish(run))
    await finish_training(settings, "r-1", adapter=adapter, passed=False)
    first = e.DeploymentChanged(occurred_at=make.at(1), revision=1, champion="base", cause="first start")
    bad = e.DeploymentChanged(occurred_at=make.at(2), revision=2, champion=adapter, previous_champion="base", cause="a test")
    await with_bus(settings, lambda bus: bus.publish(first, bad))


async def test_records_that_are_no_events_end_nothing_and_a_restart_neither(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeModelServer()
    await send(settings, *((topic, value, key) for topic in FACT_TOPICS for value, key in ODD[:1]))
    await with_bus(settings, lambda bus: bus.publish(make.thumb(1)))
    for start in (1, 2):
        async with running(settings, server, monkeypatch) as stream:
            await until(stream, lambda s, start=start: s["recorded"]["feedback"] == start, "the thumb beside them")
            await send(settings, *((FEEDBACK, value, key) for value, key in ODD), headers=[("a", None), ("b", b"\xff")])
            await send(settings, *((CHATS, value, key) for value, key in ODD))
            await with_bus(settings, lambda bus, start=start: bus.publish(make.thumb(start + 1), make.answer(start), make.bad_case(start)))
            await until(stream, lambda s, start=start: s["recorded"]["feedback"] == start + 1, "the thumb after them")
            letters = len(FACT_TOPICS) + 2 * len(ODD) - 2
            await until(stream, lambda s, letters=letters: s["recorded"]["dead_letters"] >= letters, "the letters of every partition")
            listed = (await ask(stream, "GET", "/v1/letters?limit=1000"))["letters"]
            assert len(listed) == letters
            await eventually(lambda stream=stream: not stream.health()["troubles"]["letters"], "letters without trouble")
            assert await replayed_hash(settings, start) == await stream.parts.ledger.ask(ledger_hash)
    told = {letter.letter_id for letter in await published(settings, DEAD_LETTERS)}
    assert told == {letter["letter_id"] for letter in listed}


async def replayed_hash(settings: Settings, number: int) -> str:
    return await replayed(settings.model_copy(update={"var": settings.var / f"replay-{number}"}))


@pytest.mark.parametrize("megabytes", [7, 8])
async def test_a_large_record_that_is_no_event_holds_up_no_order(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, megabytes: int
) -> None:
    server = FakeModelServer()
    await with_bad_champion(settings)
    size = min(megabytes * 1_000_000 + 400_000, MAX_RECORD_BYTES - 500)
    await send(settings, *((topic, b"\xff" * size, b"c1") for topic in (FEEDBACK, DECISIONS)))
    async with running(settings, server, monkeypatch) as stream:
        await until(stream, lambda s: s["recorded"]["dead_letters"] == 2, "the letters")
        await rolled_back(stream)
        await eventually(lambda: not any(stream.health()["troubles"].values()), "no part in trouble")
        listed = (await ask(stream, "GET", "/v1/letters"))["letters"]
        assert [letter["bytes"] for letter in listed] == [size, size]
        again = next(letter["letter_id"] for letter in listed if letter["topic"] == FEEDBACK)
        await ask(stream, "POST", f"/v1/letters/{again}/retry")
        while (await ask(stream, "GET", f"/v1/letters/{again}"))["letter"]["attempts"] == 1:
            await stream.parts.ledger.next_batch(stream.parts.ledger.batches, 1.0)
    letters = [letter for letter in await published(settings, DEAD_LETTERS) if isinstance(letter, e.DeadLettered)]
    assert [(letter.cut, letter.value_bytes) for letter in letters] == [(True, size)] * 2
    assert {(letter.original_topic, letter.offset) for letter in letters} == {(FEEDBACK, 0), (DECISIONS, 0)}


async def test_letters_that_cannot_be_published_hold_up_no_order(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeModelServer()
    await with_bad_champion(settings)
    await send(settings, (FEEDBACK, LONE, b"c1"))
    async with running(settings, server, monkeypatch) as stream:
        publish = stream.parts.bus.publish

        async def refusing(*events: e.Event) -> None:
            if any(isinstance(event, e.DeadLettered) for event in events):
                raise RuntimeError("the letters' topic is gone")
            await publish(*events)

        monkeypatch.setattr(stream.parts.bus, "publish", refusing)
        await until(stream, lambda s: s["recorded"]["dead_letters"] == 1, "the letter")
        await rolled_back(stream)
        assert stream.health()["troubles"]["letters"] == "RuntimeError: the letters' topic is gone"
        assert (stream.health()["trouble"], stream.health()["ok"]) == ("RuntimeError: the letters' topic is gone", True)
        monkeypatch.setattr(stream.parts.bus, "publish", publish)


async def test_headers_with_any_bytes_as_names_hide_no_record(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        for module in ("message_accumulator", "producer"):
            patch.setattr(f"aiokafka.producer.{module}.DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
        odd = [(OddName(b"\xff\xfe"), b"\xff")]
        await send(settings, *((FEEDBACK, make.thumb(number).to_json(), b"c1") for number in range(3)), headers=odd)
        await send(settings, (DEPLOYMENTS, b"{}", b"default"), headers=odd)
    async with running(settings, FakeModelServer(), monkeypatch) as stream:
        await until(stream, lambda s: s["recorded"]["feedback"] == 3, "the thumbs")
    seen: list[int] = []
    follower = Follower(settings.kafka_servers, settings.kafka, [DEPLOYMENTS], lambda record: seen.append(record.offset))
    await follower.start()
    assert await follower.caught_up(30)
    await follower.stop()
    assert seen[0] == 0


async def test_a_letter_is_taken_after_a_mend_or_dropped_for_good(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mend here: the answer's id was known with another body. What is retried without a mend is the same letter once more."""
    odd = json.dumps(json.loads(make.thumb(1).to_json()) | {"thumb": "sideways"}).encode()
    await send(settings, (FEEDBACK, odd, b"c1"), (BAD_CASES, LONE, b"c1"))
    server = FakeModelServer()
    async with running(settings, server, monkeypatch) as stream:
        await until(stream, lambda s: s["recorded"]["dead_letters"] == 2, "the letters")
        names = {letter["topic"]: letter["letter_id"] for letter in (await ask(stream, "GET", "/v1/letters"))["letters"]}
        await ask(stream, "POST", f"/v1/letters/{names[FEEDBACK]}/retry")
        await ask(stream, "POST", f"/v1/letters/{names[BAD_CASES]}/drop")

        async def attempts() -> dict[str, tuple[int, str]]:
            listed = (await ask(stream, "GET", "/v1/letters"))["letters"]
            return {letter["topic"]: (letter["attempts"], letter["state"]) for letter in listed}

        while (told := await attempts())[FEEDBACK][0] == 1:
            await stream.parts.ledger.next_batch(stream.parts.ledger.batches, 1.0)
        assert told == {FEEDBACK: (2, "waiting"), BAD_CASES: (1, "dropped")}
        assert await replayed(settings) == await stream.parts.ledger.ask(ledger_hash)
    # The code that reads thumbs knows the third way now.
    monkeypatch.setattr("csqa_loop.ledger.recorder.decode", mended_decode)
    async with running(settings, server, monkeypatch) as stream:
        await until(stream, lambda s: s["deployment"] is not None, "the start")
        await ask(stream, "POST", f"/v1/letters/{names[FEEDBACK][:12]}/retry")
        await until(stream, lambda s: s["recorded"]["feedback"] == 1, "the thumb")
        listed = (await ask(stream, "GET", "/v1/letters"))["letters"]
        assert {letter["topic"]: letter["state"] for letter in listed} == {FEEDBACK: "taken", BAD_CASES: "dropped"}


def mended_decode(topic: str, value: bytes | None) -> e.Event:
    from csqa_loop.events.wire import decode

    return decode(topic, value and value.replace(b"sideways", b"up"))
