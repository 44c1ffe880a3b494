"""How long does it take to build preference pairs from 100,000 feedback events, and to choose a training set from all of them?

A made-up shop with 2,000 policy sections. Its policies and 100,000 answers lie in the ledger; then thumbs and bad cases with corrections come
in batches of 1,000, as the loop takes them. Timed: `Ledger.take` of those (blame, pairs, quality, signatures, all durable), reading the fresh and
the held-out pairs back, and `select` over all of them with the shipped caps. Baseline: the same without quality and without MinHash.

Each measurement is a process of its own; peak memory is that of the whole process, DuckDB's included. Writes var/bench/pair_building.json; exit
status 1 when a goal is missed. CSQA_TEST_RUNS sets the number of feedback events.
"""

import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

from _bench import Figure, figure, report

from csqa_loop import events as e
from csqa_loop.answering.rules.prompt import build_messages
from csqa_loop.evidence import pair_queries as pairs
from csqa_loop.evidence.derivation import deriving
from csqa_loop.evidence.rules.pairs import PairPolicy
from csqa_loop.knowledge.rules.versions import policy_version
from csqa_loop.ledger import Ledger
from csqa_loop.ledger.garbage import collect_seldom
from csqa_loop.ledger.rules.batch import Batch, marks_of
from csqa_loop.log.records import LogRecord
from csqa_loop.training.rules.selection import SelectionPolicy, select

EVENTS = 100_000
SEED = 20_263
SECONDS = 60.0
_BATCH = 1_000
_POLICIES, _SECTIONS = 100, 20
_USERS = 20_000
_START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_CORRECTED = 0.5
_SYLLABLES = ("ba", "cor", "del", "fin", "gal", "hem", "jo", "kal", "lum", "mer", "nor", "pel", "quin", "ros", "sil", "tam", "vor", "wex")
_ASKED = (
    "How long may I return {thing}? I bought it in {place}.",
    "Until when can {thing} from {place} be sent back?",
    "My {thing} came from {place} and does not fit. How many days do I have?",
    "What is the return period for {thing} ordered in {place}?",
)


@dataclass(frozen=True)
class Outcome:
    """One measurement."""

    taking: float
    """Seconds."""
    selecting: float
    """Seconds."""
    cpu: float
    """Seconds of processor time for both, on all threads."""
    fresh: int
    held_out: int
    selected: int
    peak: float
    """MiB."""


class Shop:
    """Policies, answers and feedback. The same seed makes the same events."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._places = [self._word(3) for _ in range(3_000)]
        self._sections = [(policy, self._word(4), self._chance.randrange(3, 90)) for policy in range(_POLICIES) for _ in range(_SECTIONS)]
        self._texts = [self._policy(number) for number in range(_POLICIES)]
        self._versions = [policy_version(text) for text in self._texts]

    def policies(self) -> Iterator[e.Event]:
        """Published before anything else."""
        for number, text in enumerate(self._texts):
            yield e.PolicyPublished(
                event_id=self._id(), occurred_at=_START - timedelta(days=1), policy_id=f"p{number}", version=self._versions[number],
                title=f"Returns {number}", text=text,
            )  # fmt: skip

    def turns(self, number: int) -> Iterator[tuple[e.Event, e.Event]]:
        """So many answers, each with the feedback it gets."""
        for count in range(number):
            moment = _START + timedelta(seconds=8 * count)
            policy, thing, days = self._chance.choice(self._sections)
            question = self._chance.choice(_ASKED).format(thing=thing, place=self._chance.choice(self._places))
            ids = {"message_id": f"m{count}", "conversation_id": f"c{count}"}
            user = f"u-{self._chance.randrange(_USERS):016x}"
            citation = e.Citation(
                chunk_id=f"p{policy}#0", policy_id=f"p{policy}", version=self._versions[policy], section=f"Returns > {thing}", score=0.8
            )
            answer = e.AnswerGiven(
                event_id=self._id(), occurred_at=moment, **ids, user=user, question=question,
                messages=build_messages([e.ChatMessage(role="user", content=question)], [_sentence(thing, days)]),
                answer=f"You have {self._chance.randrange(91, 400)} days.", citations=(citation,), latency_ms=100.0,
            )  # fmt: skip
            later = moment + timedelta(seconds=30)
            if self._chance.random() < _CORRECTED:
                yield answer, e.BadCaseReported(
                    event_id=self._id(), occurred_at=later, **ids, reason="wrong", corrected_answer=_sentence(thing, days),
                    reviewer=f"agent-{self._chance.randrange(40)}",
                )  # fmt: skip
            else:
                thumb = self._chance.choice(("up", "down"))
                yield answer, e.FeedbackGiven(event_id=self._id(), occurred_at=later, **ids, user=user, thumb=thumb)

    def _policy(self, number: int) -> str:
        sections = [f"## {thing}\n\n{_sentence(thing, days)}\n" for policy, thing, days in self._sections if policy == number]
        return "# Returns\n\n" + "\n".join(sections)

    def _word(self, syllables: int) -> str:
        return "".join(self._chance.choice(_SYLLABLES) for _ in range(syllables))

    def _id(self) -> UUID:
        return UUID(int=self._chance.getrandbits(128), version=4)


def _sentence(thing: str, days: int) -> str:
    return f"Every {thing} may be returned within {days} days of delivery."


def take(ledger: Ledger, events: Sequence[e.Event]) -> tuple[float, float]:
    """Seconds, and seconds of processor time, to take them in batches; making the records is not timed."""
    seconds = cpu = 0.0
    for start in range(0, len(events), _BATCH):
        some = events[start : start + _BATCH]
        records = [LogRecord(event.topic, 0, start + place, event.key.encode(), event.to_json()) for place, event in enumerate(some)]
        batch = Batch(list(zip(some, records, strict=True)), [], marks_of(records))
        began, busy = time.perf_counter(), time.process_time()
        ledger.take(batch)
        seconds, cpu = seconds + time.perf_counter() - began, cpu + time.process_time() - busy
    return seconds, cpu


def measure(number: int, seed: int, *, plain: bool) -> Outcome:
    """One ledger from empty to a training set; `plain` leaves quality and MinHash out."""
    shop = Shop(seed)
    collect_seldom()  # as the loop does
    policies = list(shop.policies())
    answers, feedback = zip(*shop.turns(number), strict=True)
    with tempfile.TemporaryDirectory(prefix="csqa-bench-pairs-") as folder, ExitStack() as without:
        if plain:
            without.enter_context(patch("csqa_loop.evidence.rules.pairs.findings", lambda *_: ()))
            without.enter_context(patch("csqa_loop.evidence.derivation.signatures", lambda texts: [b"-"] * len(texts)))
            without.enter_context(patch("csqa_loop.training.rules.selection.near_duplicates", lambda *_: {}))
            without.enter_context(patch("csqa_loop.training.rules.selection.Protected.repeated_by", lambda *_: {}))
            without.enter_context(patch("csqa_loop.training.rules.selection.Protected.__init__", lambda *_: None))
        ledger = Ledger(Path(folder) / "ledger" / "ledger.duckdb", deriving(PairPolicy()))
        ledger.open()
        try:
            take(ledger, policies)
            take(ledger, answers)
            taking, cpu = take(ledger, feedback)
            began, busy = time.perf_counter(), time.process_time()
            cursor = ledger.reader()
            fresh, held_out = pairs.fresh_pairs(cursor), pairs.holdout_pairs(cursor)
            selection = select(fresh, [pair.question for pair in held_out], SelectionPolicy(max_pairs=number))
            selecting, cpu = time.perf_counter() - began, cpu + time.process_time() - busy
        finally:
            ledger.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'plain' if plain else 'whole'}: {selection}", file=sys.stderr)
    return Outcome(taking, selecting, cpu, len(fresh), len(held_out), len(selection.taken), peak)


def figures(number: int, seed: int) -> list[Figure]:
    """All figures of one run."""
    outcomes = []
    for plain in (True, False):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            outcomes.append(process.submit(measure, number, seed, plain=plain).result())
    plain, whole = outcomes
    told = {"n": number, "seed": seed}
    seconds, baseline = whole.taking + whole.selecting, plain.taking + plain.selecting
    return [
        figure("pair_building.seconds", seconds, "s", goal=SECONDS, baseline=baseline, **told),
        figure("pair_building.seconds_taking", whole.taking, "s", baseline=plain.taking, **told),
        figure("pair_building.seconds_selecting", whole.selecting, "s", baseline=plain.selecting, **told),
        figure("pair_building.seconds_cpu", whole.cpu, "CPU s", baseline=plain.cpu, **told),
        figure("pair_building.memory_peak", whole.peak, "MiB", baseline=plain.peak, **told),
        figure("pair_building.pairs", whole.fresh + whole.held_out, "pairs", baseline=plain.fresh + plain.held_out, **told),
        figure("pair_building.pairs_selected", whole.selected, "pairs", baseline=plain.selected, **told),
    ]


def main() -> int:
    """Measure, write, judge."""
    return report("pair_building", figures(int(os.environ.get("CSQA_TEST_RUNS", str(EVENTS))), SEED))


if __name__ == "__main__":
    sys.exit(main())
