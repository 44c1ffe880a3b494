"""How long after an agent's correction is published does its preference pair stand in the ledger?

The loop's own parts (`streams.loop.LoopStream`: consumer, intake, ledger on disk, decisions, analysts' copy) run on a broker of their own.
Chats flow all the while; bad cases with a correction come at a steady trickle, each about an answer that the ledger holds already. The
latency of one is from just before its publication to the moment a query first finds its pair, asked whenever the ledger has taken a batch.
Not every correction makes a pair (the ledger may blame the policy instead of the model); those that do not are blamed in time and not counted.

Baseline: a bare aiokafka consumer of the same topic, in the same process at the same time, from publication to delivery.

Writes var/bench/pair_latency.json; exit status 1 when a goal is missed. CSQA_TEST_RUNS sets the number of cases, CSQA_TEST_BROKER=kafka
takes Apache Kafka from KAFKA_HOME instead of the embedded broker.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _bench import Figure, broker, create_topics, figure, producer, report
from _traffic import Shop

from csqa_loop.backends.bus.reader import open_consumer, partitions_of
from csqa_loop.domain.events import BadCaseReported, Event
from csqa_loop.domain.topics import BAD_CASES
from csqa_loop.domain.wire import decode
from csqa_loop.settings import KafkaSettings, Settings, TriggerSettings
from streams.loop import LoopStream

CASES = 400
SEED = 20_263
P95_MS = 1000
_CASE_SECONDS = 0.1
_CHATS_A_CASE = 5
_PATIENCE = 60.0
Moments = dict[str, float]
"""event_id -> monotonic seconds."""


async def talk(servers: str, cases: int, seed: int, sent: Moments) -> None:
    """Chats at `_CHATS_A_CASE` to one bad case every `_CASE_SECONDS`; a correction comes one interval after its answer."""
    shop, sender = Shop(seed), await producer(servers)

    async def publish(event: Event) -> None:
        await sender.send_and_wait(event.topic, event.to_json(), event.key.encode())

    try:
        for policy in shop.policies:
            await publish(policy)
        waiting: Event | None = None
        started = time.monotonic()
        for number in range(cases + 1):
            if waiting is not None:
                sent[str(waiting.event_id)] = time.monotonic()
                await publish(waiting)
            *chat, waiting = shop.turn(corrected=True)
            for event in chat + [event for _ in range(_CHATS_A_CASE) for event in shop.turn(corrected=False)]:
                await publish(event)
            await asyncio.sleep(max(0.0, started + (number + 1) * _CASE_SECONDS - time.monotonic()))
    finally:
        await sender.stop()


async def deliver(servers: str, got: Moments) -> None:
    """What a bare consumer sees, and when."""
    settings = KafkaSettings()
    async with open_consumer(servers, settings) as consumer:
        consumer.assign(await partitions_of(consumer, [BAD_CASES], settings.request_timeout_seconds))
        while True:
            batches = await consumer.getmany(timeout_ms=500)
            moment = time.monotonic()
            for record in (record for batch in batches.values() for record in batch):
                event = decode(BAD_CASES, record.value)
                if isinstance(event, BadCaseReported):
                    got.setdefault(str(event.event_id), moment)


async def look(stream: LoopStream, judged: Moments, paired: Moments) -> None:
    """When each correction is first found judged, and when its pair."""

    def corrections(cursor: Any) -> list[tuple[str, bool]]:
        return cursor.execute(
            "SELECT b.event_id::VARCHAR, p.pair_id IS NOT NULL FROM blames b LEFT JOIN pairs p ON p.evidence_event_id = b.event_id"
        ).fetchall()

    while True:
        await stream.parts.ledger.next_batch(1.0)
        found = await stream.parts.ledger.ask(corrections)
        moment = time.monotonic()
        for name, has_pair in found:
            judged.setdefault(name, moment)
            if has_pair:
                paired.setdefault(name, moment)


async def follow(servers: str, folder: Path, cases: int, seed: int) -> tuple[Moments, Moments, Moments]:
    """Moments of publication, bare delivery and pair."""
    # Nothing is trained here: no run may claim the pairs.
    stream = LoopStream(
        Settings(var=folder, kafka=KafkaSettings(servers=servers), trigger=TriggerSettings(min_pairs=100_000, max_pairs=100_000))
    )
    sent: Moments = {}
    got: Moments = {}
    judged: Moments = {}
    paired: Moments = {}
    work = asyncio.create_task(stream.run())
    watching: list[asyncio.Task[None]] = []
    try:
        async with asyncio.timeout(_PATIENCE):
            while not stream.intake.caught_up:
                if work.done():
                    work.result()
                await asyncio.sleep(0.1)
        watching = [asyncio.create_task(deliver(servers, got)), asyncio.create_task(look(stream, judged, paired))]
        await talk(servers, cases, seed, sent)
        deadline = time.monotonic() + _PATIENCE
        while not (sent.keys() <= judged.keys() and sent.keys() <= got.keys()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"of {len(sent)} corrections {len(sent.keys() - judged.keys())} were not judged within {_PATIENCE:g} s")
            await asyncio.sleep(0.1)
    finally:
        for task in (*watching, work):
            task.cancel()
        await asyncio.gather(*watching, work, return_exceptions=True)
        await stream.stop()
    return sent, got, paired


def milliseconds(sent: Moments, seen: Moments) -> list[float]:
    """Sorted latencies."""
    return sorted(1000 * (seen[name] - moment) for name, moment in sent.items())


def measure(cases: int, seed: int) -> list[Figure]:
    """All figures of one run."""
    with broker() as (servers, _), tempfile.TemporaryDirectory(prefix="csqa-bench-pairs-") as folder:
        asyncio.run(create_topics(servers))
        sent, got, paired = asyncio.run(follow(servers, Path(folder), cases, seed))
    sent = {name: moment for name, moment in sent.items() if name in paired}
    pair, bare = milliseconds(sent, paired), milliseconds(sent, got)
    told = {"n": len(sent), "seed": seed}

    def p95(sample: Sequence[float]) -> float:
        return statistics.quantiles(sample, n=20)[-1]

    return [
        figure("pair_latency.p95", p95(pair), "ms", goal=P95_MS, baseline=p95(bare), **told),
        figure("pair_latency.median", statistics.median(pair), "ms", baseline=statistics.median(bare), **told),
        figure("pair_latency.worst", pair[-1], "ms", baseline=bare[-1], **told),
    ]


def main() -> int:
    """Measure, write, judge."""
    return report("pair_latency", measure(int(os.environ.get("CSQA_TEST_RUNS", str(CASES))), SEED))


if __name__ == "__main__":
    sys.exit(main())
