"""The task that looks for better answers: when it pauses, and that nothing ends it."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from csqa_loop.evidence.judge import proposer as prefer
from csqa_loop.evidence.judge.rules.judging import Candidate
from tests.desk import Desk, case, merit
from tests.fakes.judge import FakeJudge, by_merit
from tests.waiting import eventually

Run = Callable[[Desk, Callable[[], bool]], None]


@pytest.fixture
async def run(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    """Starts the task as the loop does; it is gone after the test."""
    monkeypatch.setattr(prefer, "_BEAT_SECONDS", 0)
    tasks: list[asyncio.Task[None]] = []
    yield lambda desk, ready: tasks.append(asyncio.create_task(desk.proposer.run(ready)))
    for task in tasks:
        assert not task.done(), "nothing may end it"
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_pauses_grow_while_the_judge_is_down_and_end_when_it_is_back(run: Run) -> None:
    desk = Desk(cases=[case(1)], judge=FakeJudge(by_merit(merit), mode="down"))
    run(desk, lambda: True)
    waited = []
    for tries in (1, 2, 3, 4):
        await eventually(lambda tries=tries: len(desk.judge.asked) == tries and desk.proposer.status().paused_until, "a pause")
        message = desk.proposer.status().last_error.message
        waited.append(float(re.search(r"waiting (\S+) s", message)[1]))
        desk.now += timedelta(seconds=waited[-1])
    assert waited == [5, 10, 20, 40]
    desk.judge.mode = "well"
    desk.now += timedelta(minutes=10)
    await eventually(lambda: len(desk.proposals) == 1, "a proposal")
    assert desk.proposer.status().paused_until is None


async def test_nothing_is_tried_before_the_loop_is_ready_and_nothing_ends_the_task(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ready, desk, broken = False, Desk(), True
    candidates = prefer.proposal_candidates

    def failing(*asked: Any) -> list[Candidate]:
        if broken:
            raise LookupError("the ledger has no such table")
        return candidates(*asked)

    monkeypatch.setattr(prefer, "proposal_candidates", failing)
    run(desk, lambda: ready)
    for _ in range(20):
        await asyncio.sleep(0)
    assert desk.proposer.status().last_error is None
    ready = True
    await eventually(lambda: desk.proposer.status().last_error, "an error")
    assert "LookupError: the ledger has no such table" in desk.proposer.status().last_error.message
    broken = False
    desk.now += timedelta(minutes=1)
    await eventually(lambda: len(desk.proposals) == 1, "a proposal")
