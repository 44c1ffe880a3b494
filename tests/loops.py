"""The loop in a test's own process, on a real broker with a real ledger: what it is fed, and waiting for what comes of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from csqa_loop import bootstrap
from csqa_loop import events as e
from csqa_loop.console.status import status
from csqa_loop.events.wire import decode
from csqa_loop.evidence.rules.pairs import held_out
from csqa_loop.ledger.replay import replay_log
from csqa_loop.log import KafkaBus, read_to_end
from csqa_loop.settings import ExperimentSettings, KafkaSettings, MetricSettings, PreferenceSettings, Settings, TriggerSettings
from streams.loop import LoopStream
from tests import events as make
from tests.adapter_folders import adapter_in
from tests.fakes.model_server import FakeModelServer

ADAPTER = "a-8f35fad14134839f"
"""The name of what `finish_training` makes."""
PATIENCE = 60.0
TRAINABLE = next(name for name in map(str, range(100)) if not held_out("returns", name))


def quick_settings(folder: Path, servers: str) -> Settings:
    """A loop that trains on three pairs and judges after thirty users an arm, with a window of a second."""
    return Settings(
        var=folder / "var",
        kafka=KafkaSettings(servers=servers),
        trigger=TriggerSettings(min_pairs=3, max_pairs=10, progress_timeout_seconds=600),
        preferences=PreferenceSettings(grounding="off", min_users=3, near_duplicate=1.0),
        experiment=ExperimentSettings(
            window_seconds=1,
            grace_seconds=0,
            burn_in_users=30,
            max_users=500,
            ramp=(1.0,),
            ramp_users=1,
            handoff_margin=0.5,
            error_margin=0.5,
            rating_margin=0.5,
            unanswered_margin=0.5,
            # Every answer here has the same length, which is not certainty and would keep the challenger for ever.
            metrics=(
                MetricSettings(name="answer_length", numerator="answer_characters", denominator="answers", direction="down", kind="ratio"),
            ),
        ),
    )


@asynccontextmanager
async def running(settings: Settings, server: FakeModelServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LoopStream]:
    monkeypatch.setattr(bootstrap, "build_model_server", lambda _: server)
    stream = LoopStream(settings)
    task = asyncio.create_task(stream.run())
    try:
        yield stream
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await stream.stop()


async def until(stream: LoopStream, holds: Callable[[dict], bool], what: str) -> dict:
    """The first status that `holds`."""
    deadline = time.monotonic() + PATIENCE
    told: dict = {}
    while time.monotonic() < deadline:
        if stream.health()["phase"] in {"reading", "deciding"}:
            told = (await status(stream.parts.console, caught_up=stream.position.caught_up)).model_dump(mode="json")
            if told["caught_up"] and holds(told):
                return told
        await stream.parts.ledger.next_batch(stream.parts.ledger.batches, 0.2)
    pytest.fail(f"{what} did not happen within {PATIENCE:g} s; last: {told}, {stream.health()}")


async def published(settings: Settings, topic: str) -> list[e.Event]:
    return [decode(topic, record.value) async for record in read_to_end(settings.kafka_servers, settings.kafka, [topic])]


async def replayed(settings: Settings) -> str:
    """The hash of a ledger that is made of the log alone."""
    ledger = bootstrap.build_ledger(settings, settings.var / "replayed" / "ledger.duckdb")
    secret = bootstrap.build_secrets(settings).secret
    told = await replay_log(ledger, secret, settings.privacy.known, settings.kafka_servers, settings.kafka, lambda _: None)
    return str(told["hash"])


async def with_bus(settings: Settings, work: Callable[[KafkaBus], Awaitable[None]]) -> None:
    bus = KafkaBus(settings.kafka, settings.kafka_servers)
    await bus.start()
    try:
        await work(bus)
    finally:
        await bus.stop()


async def feed_pairs(settings: Settings, first: int, number: int) -> None:
    async def work(bus: KafkaBus) -> None:
        await bus.publish(*(make.answer(n, section=TRAINABLE) for n in range(first, first + number)))
        await bus.publish(*(make.bad_case(n) for n in range(first, first + number)))

    await with_bus(settings, work)


async def finish_training(settings: Settings, run_id: str, attempt: int = 1, *, passed: bool = True, adapter: str = ADAPTER) -> None:
    if not (settings.adapters / adapter).exists():
        assert adapter_in(settings.adapters, b"tensors") == adapter
    moment = e.now()
    trained = e.AdapterTrained(
        event_id=e.derived_id(run_id, "AdapterTrained", attempt), occurred_at=moment, run_id=run_id, attempt=attempt, adapter=adapter, parent="base",
        recipe_hash="x", data_hash="y", pairs=3, seconds=1.0,
    )  # fmt: skip
    judged = e.AdapterEvaluated(
        event_id=e.derived_id(run_id, "AdapterEvaluated", attempt), occurred_at=moment + timedelta(milliseconds=1), run_id=run_id, attempt=attempt,
        adapter=adapter, champion="base", passed=passed, checks=(e.GateCheck(name="preference", passed=passed),),
    )  # fmt: skip
    await with_bus(settings, lambda bus: bus.publish(trained, judged))


async def play_users(settings: Settings, experiment: str, users: int, *, challenger_up: bool = True) -> None:
    moment = e.now()

    async def work(bus: KafkaBus) -> None:
        events: list[e.Event] = []
        for number in range(users):
            arm = "challenger" if number % 2 else "control"
            name = 1_000 + number
            shown = {"experiment": experiment, "arm": arm}
            events += [
                make.exposure(name, **shown).model_copy(update={"occurred_at": moment}),
                make.answer(name, latency_ms=100.0 + number % 7, **shown).model_copy(update={"occurred_at": moment}),
                make.thumb(name, "up" if (number % 2 == 1) == challenger_up else "down").model_copy(update={"occurred_at": moment}),
            ]
        await bus.publish(*events)

    await with_bus(settings, work)
