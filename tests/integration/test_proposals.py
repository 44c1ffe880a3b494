"""Better answers that models find, on a real ledger: from a complaint without a better answer to a pair."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from csqa_loop import events as e
from csqa_loop.evidence.judge.contest import Contest
from csqa_loop.evidence.judge.proposer import AnswerProposer
from csqa_loop.evidence.pair_queries import fresh_pairs
from csqa_loop.evidence.rules.pairs import held_out
from csqa_loop.knowledge.rules.versions import policy_version
from csqa_loop.ledger.service import LedgerService
from csqa_loop.settings import AnswerSettings, JudgeSettings
from tests import events as make
from tests.desk import KNOWN
from tests.fakes.bus import MemoryBus
from tests.fakes.judge import FakeJudge, by_merit
from tests.fakes.model_server import FakeModelServer
from tests.ledgers import ledger_at

POLICY = "# Returns\n\n## Footwear\n\nBoots may be returned within 45 days if the soles are clean.\n"
BAD, GOOD = "30 days.", "Boots may be returned within 45 days."
TRAINABLE = next(f"Returns > {number}" for number in range(100) if not held_out("returns", f"Returns > {number}"))
HELD_OUT = next(f"Returns > {number}" for number in range(100) if held_out("returns", f"Returns > {number}"))
SETTINGS = JudgeSettings(url="http://judge", model="j", concurrency=10)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[LedgerService]:
    service = LedgerService(ledger_at(tmp_path / "ledger" / "ledger.duckdb"))
    await service.wait_for_lock()
    await service.open()
    yield service
    await service.close()


def asked(number: int, section: str = TRAINABLE) -> e.AnswerGiven:
    quote = e.Citation(chunk_id="returns#0", policy_id="returns", version=policy_version(POLICY), section=section, score=0.9)
    question = f"How long may I return boots, case {number}?"
    messages = (e.ChatMessage(role="system", content=f"Policy:\n\n{POLICY}"), e.ChatMessage(role="user", content=question))
    return make.answer(number, question=question, messages=messages, citations=(quote,), answer=BAD)


class Taken(MemoryBus):
    """A log that the ledger reads at once."""

    def __init__(self, ledger: LedgerService) -> None:
        super().__init__()
        self._ledger = ledger

    async def publish(self, *events: e.Event) -> None:
        await super().publish(*events)
        await self._ledger.take(make.batch(*events, first_offset=1000 + len(self.records)))


async def serving() -> str:
    return e.BASE


def proposer(ledger: LedgerService, *, says: str = GOOD) -> tuple[AnswerProposer, Taken]:
    bus = Taken(ledger)
    server, judge = FakeModelServer(answer=lambda *_: says), FakeJudge(by_merit(lambda answer: answer == GOOD))
    contest = Contest(server, judge, judging=SETTINGS, answering=AnswerSettings())
    contest.bias = KNOWN
    return AnswerProposer(ledger, contest, bus, SETTINGS, lambda: make.at(100), serving, b"secret"), bus


async def test_a_proposal_becomes_a_pair_and_the_case_does_not_come_again(ledger: LedgerService) -> None:
    await ledger.take(make.batch(make.policy(POLICY), asked(1), make.bad_case(1, None)))
    proposing, bus = proposer(ledger)
    async with asyncio.timeout(60):
        await proposing.beat()
        await proposing.beat()
    assert proposing.status().tried == 1
    (pair,) = await ledger.ask(fresh_pairs)
    assert (pair.chosen, pair.rejected, pair.source, pair.weight, pair.contributor) == (GOOD, BAD, "resample", 0.5, "fake-judge")
    again, _ = proposer(ledger)  # as after a restart
    await again.beat()
    assert again.status().tried == 0
    assert len(bus.records) == 1


async def test_only_what_may_be_learnt_and_nobody_has_bettered_is_tried(ledger: LedgerService) -> None:
    await ledger.take(
        make.batch(
            make.policy(POLICY), *(asked(number) for number in (1, 2, 3)), asked(4, HELD_OUT), asked(5),
            make.bad_case(1, None), make.bad_case(2, GOOD), make.bad_case(4, None), make.thumb(5, "down"),
        )
    )  # fmt: skip
    proposing, bus = proposer(ledger)
    await proposing.beat()
    assert {event.message_id for event in bus.of_type(e.AnswerProposed)} == {"m1", "m5"}


async def test_a_case_without_a_better_answer_makes_room_for_the_next(ledger: LedgerService) -> None:
    cases = range(1, 26)
    await ledger.take(make.batch(make.policy(POLICY), *map(asked, cases), *(make.bad_case(number, None) for number in cases)))
    proposing, bus = proposer(ledger, says=BAD)
    for _ in range(4):
        await proposing.beat()
    assert (proposing.status().tried, bus.records) == (25, [])
