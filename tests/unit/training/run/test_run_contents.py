"""What a run takes of what is fresh, and what it leaves for its gate or a later run."""

import hashlib
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from csqa_loop.evidence.pair_queries import fresh_examples
from csqa_loop.evidence.rules.pairs import Pair
from csqa_loop.training.rules.trigger import TriggerPolicy
from tests import events as make
from tests.boards import ADAPTER, Board, pair
from tests.planning import contents, imported, planner


@pytest.fixture
def board() -> Board:
    return Board()


def distinct(number: int) -> Pair:
    """Questions that differ in numbers alone nearly repeat each other."""
    return replace(pair(number), question=hashlib.sha256(str(number).encode()).hexdigest())


async def test_the_newest_pairs_measure_a_run_and_the_next_one_may_take_them(board: Board) -> None:
    await board.offer(*(distinct(n) for n in range(1, 11)), replace(distinct(50), occurred_at=make.at(5.5), held_out=True))
    await board.teach(distinct(20), replace(distinct(21), question=distinct(10).question))
    plan = planner(board, newest_share=0.2)
    request = await plan.claim(ADAPTER, make.at(20))
    assert request is not None
    assert request.pair_ids == tuple(f"p-{n}" for n in range(1, 9))
    assert request.holdout_pair_ids == ("p-50", "p-9", "p-10")
    assert request.replay_pair_ids == ("p-20",)  # the other one is asked of this run
    first = contents(board, request)
    await board.happen(request)
    shutil.rmtree(board.runs)
    await plan.retry(request, make.at(21))
    assert {name: sorted(ids) for name, ids in contents(board, request).items()} == {name: sorted(ids) for name, ids in first.items()}
    await board.offer(*(distinct(n) for n in range(11, 19)))
    later = await plan.claim(ADAPTER, make.at(30))
    assert later is not None
    assert {"p-9", "p-10"} <= set(later.pair_ids)


async def test_what_the_gate_asks_is_not_trained_on(board: Board) -> None:
    await board.offer(*(distinct(n) for n in range(1, 5)))
    await board.teach(*(distinct(n) for n in range(20, 22)))
    await board.happen(*(imported(n, asked=distinct(n).question, liked=bool(n % 2)) for n in range(6)))
    plan = planner(board, regression=(distinct(1).question, distinct(20).question))
    request = await plan.claim(ADAPTER, make.at(10))
    assert request is not None
    assert (request.pair_ids, request.replay_pair_ids) == (("p-2", "p-3", "p-4"), ("p-21",))
    trigger = TriggerPolicy(min_pairs=50, min_users=0)
    request = await planner(board, method="kto", min_rated=2, trigger=trigger, regression=(distinct(0).question,)).claim(
        "base", make.at(10)
    )
    assert request is not None
    assert request.example_ids == ("m1", "m2", "m3", "m4", "m5")


async def test_only_demonstrations_that_the_mix_keeps_are_claimed(board: Board) -> None:
    board.hold(*(imported(n, category="knowledge" if n < 6 else "dialogue") for n in range(8)))
    plan = planner(board, method="sft", min_demonstrations=4, sft_mix={"knowledge": 0.5, "dialogue": 0.5})
    request = await plan.claim("base", make.at(10))
    assert request is not None
    assert len(request.example_ids) == 4
    assert contents(board, request) == {"demonstrations": list(request.example_ids)}
    await board.happen(request)
    # The rest waits: knowledge alone, whose share is now all of it.
    assert {one.category for one in await board.ask(fresh_examples)} == {"knowledge"}
    later = await plan.claim("base", make.at(10) + timedelta(hours=1))
    assert later is not None
    assert len(later.example_ids) == 4
    assert later.reason.endswith("none of dialogue, whose share of sft_mix went to the others")


async def test_a_mix_that_keeps_too_few_demonstrations_is_no_run(board: Board) -> None:
    board.hold(*(imported(n, category="knowledge" if n else "dialogue") for n in range(8)))
    plan = planner(board, method="sft", min_demonstrations=4, sft_mix={"knowledge": 0.5, "dialogue": 0.5})
    assert await plan.claim("base", make.at(10)) is None
    nothing = planner(board, method="sft", min_demonstrations=1, sft_mix={"exceptions": 1.0})
    assert await nothing.claim("base", make.at(10)) is None
