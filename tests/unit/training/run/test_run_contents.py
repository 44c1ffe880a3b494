"""What a run takes of what is fresh, and what it leaves for its gate or a later run."""

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.boards import ADAPTER, Board, pair

from csqa_loop.evidence.rules.examples import Example
from csqa_loop.evidence.rules.pairs import Pair
from csqa_loop.training.rules.trigger import TriggerPolicy
from tests import events as make
from tests.planning import contents, imported, planner, question, rated


@pytest.fixture
def board() -> Board:
    return Board()


def distinct(number: int) -> Pair:
    """Questions that differ in numbers alone nearly repeat each other."""
    return replace(pair(number), question=hashlib.sha256(str(number).encode()).hexdigest())


async def test_the_newest_pairs_measure_a_run_and_the_next_one_may_take_them(board: Board) -> None:
    board.pairs, board.holdout = [distinct(n) for n in range(1, 11)], [replace(distinct(50), occurred_at=make.at(5.5), held_out=True)]
    board.taught = [distinct(20), replace(distinct(21), question=distinct(10).question)]
    plan, runs = planner(board, newest_share=0.2)
    request = await plan.claim(ADAPTER, make.at(20))
    assert request is not None
    assert request.pair_ids == tuple(f"p-{n}" for n in range(1, 9))
    assert request.holdout_pair_ids == ("p-50", "p-9", "p-10")
    assert request.replay_pair_ids == ("p-20",)  # the other one is asked of this run
    first = runs.files
    board.taken.append(request)
    await plan.retry(request, make.at(21))
    assert {name: sorted(ids) for name, ids in runs.files.items()} == {name: sorted(ids) for name, ids in first.items()}
    board.pairs += [distinct(n) for n in range(11, 19)]
    later = await plan.claim(ADAPTER, make.at(30))
    assert later is not None
    assert {"p-9", "p-10"} <= set(later.pair_ids)


async def test_what_the_gate_asks_is_not_trained_on(board: Board) -> None:
    board.pairs, board.taught = [distinct(n) for n in range(1, 5)], [distinct(n) for n in range(20, 22)]
    board.examples = [replace(example(n, liked=bool(n % 2)), user="") for n in range(6)]
    plan, runs = planner(board)
    runs.regression = (distinct(1).question, distinct(20).question)
    request = await plan.claim(ADAPTER, make.at(10))
    assert request is not None
    assert (request.pair_ids, request.replay_pair_ids) == (("p-2", "p-3", "p-4"), ("p-21",))
    rated, runs = planner(board, method="kto", min_rated=2, trigger=TriggerPolicy(min_pairs=50, min_users=0))
    board.examples = [replace(one, question=distinct(number).question) for number, one in enumerate(board.examples)]
    runs.regression = (distinct(0).question,)
    request = await rated.claim("base", make.at(10))
    assert request is not None
    assert request.example_ids == ("m1", "m2", "m3", "m4", "m5")


async def test_only_demonstrations_that_the_mix_keeps_are_claimed(board: Board) -> None:
    def shown(number: int, category: str) -> Example:
        return replace(example(number, liked=None), user="", category=category)

    board.examples = [shown(n, "knowledge" if n < 6 else "dialogue") for n in range(8)]
    plan, runs = planner(board, method="sft", min_demonstrations=4, sft_mix={"knowledge": 0.5, "dialogue": 0.5})
    request = await plan.claim("base", make.at(10))
    assert request is not None
    assert len(request.example_ids) == 4
    assert runs.files == {"demonstrations": list(request.example_ids)}
    board.taken.append(request)
    # The rest waits: knowledge alone, whose share is now all of it.
    assert {one.category for one in await board.fresh_examples()} == {"knowledge"}
    later = await plan.claim("base", make.at(10) + timedelta(hours=1))
    assert later is not None
    assert len(later.example_ids) == 4
    assert later.reason.endswith("none of dialogue, whose share of sft_mix went to the others")


async def test_a_mix_that_keeps_too_few_demonstrations_is_no_run(board: Board) -> None:
    board.examples = [replace(example(n, liked=None), user="", category="knowledge" if n else "dialogue") for n in range(8)]
    plan, _ = planner(board, method="sft", min_demonstrations=4, sft_mix={"knowledge": 0.5, "dialogue": 0.5})
    assert await plan.claim("base", make.at(10)) is None
    nothing, _ = planner(board, method="sft", min_demonstrations=1, sft_mix={"exceptions": 1.0})
    assert await nothing.claim("base", make.at(10)) is None
