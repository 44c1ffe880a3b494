"""How long after an agent's correction, or the thumb that completes a rated pair, is published does its preference pair stand in the ledger?

The loop's own parts (`streams.loop.LoopStream`: consumer, intake, ledger on disk, decisions, analysts' copy) run on a broker of their own.
Chats flow all the while; bad cases with a correction come at a steady trickle, each about an answer that the ledger holds already, and so do
thumbs up, each on a second answer to messages whose first answer was disliked before. The latency of one is from just before its publication to
the moment a query first finds its pair, asked whenever the ledger has taken a batch. Not every correction makes a pair (the ledger may blame
the policy instead of the model); those that do not are blamed in time and not counted. Every such thumb makes one.

Baseline: a bare aiokafka consumer of the same topics, in the same process at the same time, from publication to delivery.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _bench import Figure, broker, create_topics, figure, producer, report
from _traffic import Shop

from csqa_loop.events import AnswerGiven, BadCaseReported, ChatMessage, Event, FeedbackGiven, derived_id
from csqa_loop.events.topics import BAD_CASES, FEEDBACK
from csqa_loop.events.wire import decode
from csqa_loop.log.reader import open_consumer, partitions_of
from csqa_loop.settings import KafkaSettings, PreferenceSettings, Settings, TriggerSettings
from streams.loop import LoopStream

CASES = 400
SEED = 20_263
P95_MS = 1000
_CASE_SECONDS = 0.1
_CHATS_A_CASE = 5
_PATIENCE = 60.0
Moments = dict[str, float]
"""event_id -> monotonic seconds."""


@dataclass
class Seen:
    """When each event was published, delivered to a bare consumer, judged, and found in a pair."""

    corrections: Moments = field(default_factory=dict)
    thumbs: Moments = field(default_factory=dict)
    got: Moments = field(default_factory=dict)
    judged: Moments = field(default_factory=dict)
    paired: Moments = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """What was published and is not judged, or not delivered yet."""
        judged = self.judged.keys() | self.paired.keys()
        return len((self.corrections.keys() - judged) | (self.thumbs.keys() - self.paired.keys()) | (self.sent - self.got.keys()))

    @property
    def sent(self) -> set[str]:
        """Whatever was published to be measured."""
        return {*self.corrections, *self.thumbs}


def rated(shop: Shop, number: int) -> tuple[list[Event], FeedbackGiven]:
    """Two answers to messages that nobody else sent, with a thumb down on the first; and the thumb up on the second."""
    events = shop.turn(corrected=True)
    told, right = next(event for event in events if isinstance(event, AnswerGiven)), events[-1]
    question = f"{told.question} (rated {number})"
    first = told.model_copy(update={"messages": (told.messages[0], ChatMessage(role="user", content=question)), "question": question})
    ids = {"message_id": f"{told.message_id}-2", "user": "u-ffffffffffffffff", "event_id": derived_id(told.message_id, "AnswerGiven", 2)}
    second = first.model_copy(update=ids | {"answer": getattr(right, "corrected_answer", "")})
    down, up = (
        FeedbackGiven(
            event_id=derived_id(answer.message_id, "FeedbackGiven", 1), occurred_at=answer.occurred_at, message_id=answer.message_id,
            conversation_id=answer.conversation_id, user=answer.user, thumb=thumb,
        )
        for answer, thumb in ((first, "down"), (second, "up"))
    )  # fmt: skip
    return [first, second, down], up


async def talk(servers: str, cases: int, seed: int, seen: Seen) -> None:
    """Chats at `_CHATS_A_CASE` to one bad case and one rated pair every `_CASE_SECONDS`; what is measured comes one interval after its answers."""
    shop, sender = Shop(seed), await producer(servers)

    async def publish(event: Event) -> None:
        await sender.send_and_wait(event.topic, event.to_json(), event.key.encode())

    try:
        for policy in shop.policies:
            await publish(policy)
        waiting: list[tuple[Moments, Event]] = []
        started = time.monotonic()
        for number in range(cases + 1):
            for sent, event in waiting:
                sent[str(event.event_id)] = time.monotonic()
                await publish(event)
            *chat, correction = shop.turn(corrected=True)
            answers, thumb = rated(shop, number)
            waiting = [(seen.corrections, correction), (seen.thumbs, thumb)]
            for event in chat + answers + [event for _ in range(_CHATS_A_CASE) for event in shop.turn(corrected=False)]:
                await publish(event)
            await asyncio.sleep(max(0.0, started + (number + 1) * _CASE_SECONDS - time.monotonic()))
    finally:
        await sender.stop()


async def deliver(servers: str, got: Moments) -> None:
    """What a bare consumer sees, and when."""
    settings = KafkaSettings()
    async with open_consumer(servers, settings) as consumer:
        consumer.assign(await partitions_of(consumer, [BAD_CASES, FEEDBACK], settings.request_timeout_seconds))
        while True:
            batches = await consumer.getmany(timeout_ms=500)
            moment = time.monotonic()
            for record in (record for batch in batches.values() for record in batch):
                event = decode(record.topic, record.value)
                if isinstance(event, BadCaseReported | FeedbackGiven):
                    got.setdefault(str(event.event_id), moment)


async def look(stream: LoopStream, judged: Moments, paired: Moments) -> None:
    """When each correction is first found judged, and when each pair."""

    def known(cursor: Any) -> list[tuple[str, bool]]:
        return cursor.execute(
            "SELECT event_id::VARCHAR, false FROM blames UNION ALL SELECT evidence_event_id::VARCHAR, true FROM pairs"
        ).fetchall()

    batches = 0
    while True:
        await stream.parts.ledger.next_batch(batches, 1.0)
        batches = stream.parts.ledger.batches
        found = await stream.parts.ledger.ask(known)
        moment = time.monotonic()
        for name, has_pair in found:
            judged.setdefault(name, moment)
            if has_pair:
                paired.setdefault(name, moment)


async def follow(servers: str, folder: Path, cases: int, seed: int) -> Seen:
    """What was seen when."""
    # Nothing is trained here: no run may claim the pairs. One rater a side, so that the second thumb makes the pair.
    stream = LoopStream(
        Settings(
            var=folder,
            kafka=KafkaSettings(servers=servers),
            trigger=TriggerSettings(min_pairs=100_000, max_pairs=100_000),
            preferences=PreferenceSettings(min_raters=1),
        )
    )
    seen = Seen()
    work = asyncio.create_task(stream.run())
    watching: list[asyncio.Task[None]] = []
    try:
        async with asyncio.timeout(_PATIENCE):
            while not stream.position.caught_up:
                if work.done():
                    work.result()
                await asyncio.sleep(0.1)
        watching = [asyncio.create_task(deliver(servers, seen.got)), asyncio.create_task(look(stream, seen.judged, seen.paired))]
        await talk(servers, cases, seed, seen)
        deadline = time.monotonic() + _PATIENCE
        while seen.missing:
            for task in watching:
                if task.done():
                    task.result()
            if time.monotonic() > deadline:
                raise TimeoutError(f"of {len(seen.sent)} corrections and thumbs {seen.missing} were not seen within {_PATIENCE:g} s")
            await asyncio.sleep(0.1)
    finally:
        for task in (*watching, work):
            task.cancel()
        await asyncio.gather(*watching, work, return_exceptions=True)
        await stream.stop()
    return seen


def milliseconds(sent: Moments, seen: Moments) -> list[float]:
    """Sorted latencies."""
    return sorted(1000 * (seen[name] - moment) for name, moment in sent.items())


def measure(cases: int, seed: int) -> list[Figure]:
    """All figures of one run."""
    with broker() as (servers, _), tempfile.TemporaryDirectory(prefix="csqa-bench-pairs-") as folder:
        asyncio.run(create_topics(servers))
        seen = asyncio.run(follow(servers, Path(folder), cases, seed))
    return _figures("pair_latency", seen.corrections, seen, seed) + _figures("pair_latency.rated", seen.thumbs, seen, seed)


def _figures(name: str, published: Moments, seen: Seen, seed: int) -> list[Figure]:
    sent = {event: moment for event, moment in published.items() if event in seen.paired}
    pair, bare = milliseconds(sent, seen.paired), milliseconds(sent, seen.got)
    told = {"n": len(sent), "seed": seed}

    def p95(sample: Sequence[float]) -> float:
        return statistics.quantiles(sample, n=20)[-1]

    return [
        figure(f"{name}.p95", p95(pair), "ms", goal=P95_MS, baseline=p95(bare), **told),
        figure(f"{name}.median", statistics.median(pair), "ms", baseline=statistics.median(bare), **told),
        figure(f"{name}.worst", pair[-1], "ms", baseline=bare[-1], **told),
    ]


def main() -> int:
    """Measure, write, judge."""
    return report("pair_latency", measure(int(os.environ.get("CSQA_TEST_RUNS", str(CASES))), SEED))


if __name__ == "__main__":
    sys.exit(main())
