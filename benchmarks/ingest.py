"""How many events a second does the path from Kafka into the ledger take, durable and deduplicated, and does it keep its size?

A broker of its own is filled with a shop's traffic (`_traffic`: 1 KiB an event, some records twice, some broken, some with a reused
event_id). Then, on the same log:

- baseline: a bare aiokafka consumer reads every record and looks at none;
- `csqa loop`, as a process and with default settings, takes everything into a new ledger on disk. It publishes its analysts' copy only
  when it has caught up, so that is not in the rate.

Kafka's committed offsets tell how far it is, because the loop commits what the ledger holds on disk and nothing else. The rate is that
between the first commit seen and the last, so start-up and joining the group do not count. Pairs, blames and ratings follow when the log has
been caught up; the rate with them is told beside it. In the end the ledger's tables must hold exactly what was published, once. CPU and memory are those of the loop's process and of the one it sorts out batches in; the broker shares the machine, and its share is told beside it.

Writes var/bench/ingest.json; exit status 1 when a goal is missed. CSQA_TEST_RUNS sets the number of records, CSQA_TEST_BROKER=kafka takes
Apache Kafka from KAFKA_HOME instead of the embedded broker.
"""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import psutil
from _bench import Figure, broker, console, create_topics, figure, loop, producer, report
from _traffic import Shop, Tally
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from csqa_loop.events.topics import FACT_TOPICS, TOPICS
from csqa_loop.log.reader import open_consumer, partitions_of
from csqa_loop.settings import KafkaSettings
from streams.loop import GROUP

RECORDS = 400_000
SEED = 20_262
EVENTS_A_SECOND = 25_000
GROWTH_MIB = 64
_PATIENCE = 300.0
_MIB = 2**20


class Sample(NamedTuple):
    """One look at the running loop."""

    at: float
    taken: int
    cpu: float
    """CPU seconds of the loop's process and what it started."""
    broker_cpu: float
    resident: int
    """Bytes."""


async def fill(servers: str, number: int, seed: int) -> Tally:
    """Publish the traffic; what the ledger must come to hold."""
    await create_topics(servers)
    shop, sender = Shop(seed), await producer(servers)
    try:
        for record in shop.records(number):
            await sender.send(record.topic, record.value, record.key)
        await sender.flush()
    finally:
        await sender.stop()
    return shop.tally


async def bare_rate(servers: str, records: int) -> float:
    """Records a second that aiokafka hands out when nobody looks at them."""
    settings = KafkaSettings()
    async with open_consumer(servers, settings) as consumer:
        consumer.assign(await partitions_of(consumer, FACT_TOPICS, settings.request_timeout_seconds))
        seen, began = 0, time.perf_counter()
        while seen < records:
            batches = await consumer.getmany(timeout_ms=1000)
            seen += sum(map(len, batches.values()))
        return seen / (time.perf_counter() - began)


async def watch(servers: str, process: psutil.Process, broker_pid: int, records: int) -> list[Sample]:
    """Samples from the first commit to the last."""
    samples: list[Sample] = []
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    partitions = [TopicPartition(topic, number) for topic in FACT_TOPICS for number in range(TOPICS[topic].partitions)]
    kafka = psutil.Process(broker_pid)
    deadline = time.monotonic() + _PATIENCE
    try:
        while not samples or samples[-1].taken < records:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the ledger took {samples[-1].taken if samples else 0} of {records} records in {_PATIENCE:g} s")
            committed = await admin.list_consumer_group_offsets(GROUP, partitions=partitions)
            taken = sum(max(0, found.offset) for found in committed.values())
            if taken:
                cpu, resident = whole([process, *process.children(recursive=True)])
                samples.append(Sample(time.perf_counter(), taken, cpu, whole([kafka])[0], resident))
            await asyncio.sleep(0.05)
    finally:
        await admin.close()
    return samples


def whole(processes: Sequence[psutil.Process]) -> tuple[float, int]:
    """(CPU seconds, resident bytes) of all of them."""
    cpu, resident = 0.0, 0
    for process in processes:
        with process.oneshot():
            times = process.cpu_times()
            cpu, resident = cpu + times.user + times.system, resident + process.memory_info().rss
    return cpu, resident


def growth_mib(samples: Sequence[Sample]) -> float:
    """Peak resident memory of the last third of the records less that of the middle third: caches and buffers have filled by then."""
    most = samples[-1].taken
    middle = max(sample.resident for sample in samples if most / 3 <= sample.taken <= most * 2 / 3)
    last = max(sample.resident for sample in samples if sample.taken >= most * 2 / 3)
    return (last - middle) / _MIB


def derived(url: str) -> float:
    """When the loop says that it has caught up, pairs and all."""
    deadline = time.monotonic() + _PATIENCE
    with console(url) as client:
        while not client.get("/v1/status").raise_for_status().json()["caught_up"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"pairs were not made in {_PATIENCE:g} s")
            time.sleep(0.05)
    return time.perf_counter()


def compare(url: str, expected: Tally) -> None:
    """Raise unless the ledger holds every event once and every other record as a dead letter."""
    with console(url) as client:
        recorded = client.get("/v1/status").raise_for_status().json()["recorded"]
    wanted = {"chats": expected.answers, "feedback": expected.feedback, "bad_cases": expected.bad_cases, "dead_letters": expected.letters}
    if recorded != wanted:
        raise AssertionError(f"the ledger holds {recorded}; published were {wanted}")


def measure(number: int, seed: int) -> list[Figure]:
    """All figures of one run."""
    with broker() as (servers, broker_pid):
        tally = asyncio.run(fill(servers, number, seed))
        bare = asyncio.run(bare_rate(servers, tally.records))
        with loop(servers, {}) as (url, process):
            samples = asyncio.run(watch(servers, process, broker_pid, tally.records))
            end = derived(url)
            compare(url, tally)
    first, last = samples[0], samples[-1]
    taken, seconds = last.taken - first.taken, last.at - first.at
    steps = [after.resident / _MIB for after in samples]
    told = {"n": tally.records, "seed": seed}
    return [
        figure("ingest.events_per_second", taken / seconds, "events/s", goal=EVENTS_A_SECOND, at_least=True, baseline=bare, **told),
        figure("ingest.events_per_second_with_pairs", taken / (end - first.at), "events/s", baseline=bare, **told),
        figure("ingest.memory_growth", growth_mib(samples), "MiB", goal=GROWTH_MIB, **told),
        figure("ingest.memory_peak", max(steps), "MiB", **told),
        figure("ingest.memory_median", statistics.median(steps), "MiB", **told),
        figure("ingest.cpu_per_1000_events", (last.cpu - first.cpu) / taken * 1000, "CPU s", **told),
        figure("ingest.broker_cpu_per_1000_events", (last.broker_cpu - first.broker_cpu) / taken * 1000, "CPU s", **told),
        figure("ingest.bytes_per_event", tally.bytes / tally.records, "bytes", **told),
    ]


def main() -> int:
    """Measure, write, judge."""
    return report("ingest", measure(int(os.environ.get("CSQA_TEST_RUNS", str(RECORDS))), SEED))


if __name__ == "__main__":
    sys.exit(main())
