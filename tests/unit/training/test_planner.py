"""When a run is claimed, and what it is trained on."""

import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from csqa_loop import events as e
from csqa_loop.evidence.rules.pairs import Pair
from csqa_loop.training.rules.attempts import Run
from csqa_loop.training.rules.replay import ReplayPolicy
from csqa_loop.training.rules.selection import Selection, SelectionPolicy, select
from csqa_loop.training.rules.trigger import TriggerPolicy
from tests import events as make
from tests.boards import ADAPTER, Board, build, kinds, pair
from tests.planning import contents, imported, planner, rated


async def test_enough_pairs_are_one_run() -> None:
    decider, board, bus, _ = build()
    await board.offer(pair(1), pair(2), pair(3))
    for _ in range(3):
        await decider.beat()
    assert kinds(bus) == ["DeploymentChanged", "TrainingRequested"]


async def test_the_request_says_what_was_left_out_and_why() -> None:
    decider, board, _, _ = build()
    await board.offer(pair(1), pair(2), replace(pair(3), question=pair(1).question), replace(pair(4), user="u-1"))
    await decider.beat()
    await decider.beat()
    request = board.last(e.TrainingRequested)
    assert request.pair_ids == ("p-1", "p-2")
    assert request.reason == "enough fresh pairs: 2 pairs of 2 customers; left out: 1 near_duplicate, 1 user_share"


async def test_no_run_rests_on_too_few_customers_or_on_one_pair_told_twice() -> None:
    decider, board, bus, _ = build()
    await board.offer(*(replace(pair(number), user="u-1") for number in range(1, 5)))
    await decider.beat()
    await decider.beat()
    for number in (3, 4):
        await board.forget(f"p-{number}")
    await board.offer(pair(1), replace(pair(2), question=pair(1).question))
    await decider.beat()
    assert kinds(bus) == ["DeploymentChanged"]


async def test_what_was_found_too_little_is_looked_at_again_when_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    selections: list[int] = []

    def counted(pairs: list[Pair], protected: list[str], policy: SelectionPolicy) -> Selection:
        selections.append(len(pairs))
        return select(pairs, protected, policy)

    monkeypatch.setattr("csqa_loop.training.planner.select", counted)
    decider, board, bus, _ = build()
    await board.offer(pair(1))  # fewer than any selection could take
    for _ in range(3):
        await decider.beat()
    await board.offer(replace(pair(2), question=pair(1).question))
    for _ in range(3):
        await decider.beat()
    await board.offer(pair(3))
    for _ in range(3):
        await decider.beat()
    assert selections == [2, 3]
    assert kinds(bus) == ["DeploymentChanged", "TrainingRequested"]


@pytest.fixture
def board() -> Board:
    return Board()


async def test_a_continued_adapter_repeats_a_share_of_what_its_line_was_taught(board: Board) -> None:
    await board.offer(*(pair(n) for n in range(1, 8)))
    await board.teach(*(pair(n) for n in range(20, 40)))
    await board.offer(replace(pair(50), question=pair(20).question, held_out=True))
    plan = planner(board)
    request = await plan.claim(ADAPTER, make.at(10))
    assert request is not None
    assert len(request.replay_pair_ids) == 3  # of ten, 30 %
    assert "p-20" not in request.replay_pair_ids  # held out since
    first = contents(board, request)
    assert first == {"pairs": list(request.pair_ids), "holdout": ["p-50"], "replay": list(request.replay_pair_ids)}
    assert {pair_id for pair_id, *_ in request.sources} == set(request.pair_ids)
    shutil.rmtree(board.runs)
    again = await plan.retry(request, make.at(11))
    assert isinstance(again, e.TrainingRequested)
    assert (again.run_id, again.attempt, contents(board, again)) == (request.run_id, 2, first)


async def test_the_repeated_pairs_are_part_of_the_runs_name(board: Board) -> None:
    await board.offer(pair(1), pair(2))
    plan = planner(board)
    alone = await plan.claim(ADAPTER, make.at(10))
    await board.teach(pair(3))
    beside = await plan.claim(ADAPTER, make.at(10))
    assert alone is not None
    assert beside is not None
    assert beside.replay_pair_ids == ("p-3",)
    assert (alone.run_id, alone.data_hash) != (beside.run_id, beside.data_hash)


async def test_an_anchored_run_takes_all_of_them(board: Board) -> None:
    await board.offer(pair(1), pair(2))
    await board.teach(*(pair(n) for n in range(20, 40)))
    plan = planner(board, replay=ReplayPolicy("anchored", most=100))
    request = await plan.claim(ADAPTER, make.at(10))
    assert request is not None
    assert len(request.replay_pair_ids) == 20


async def test_thumbs_alone_become_a_run_by_kto_once(board: Board) -> None:
    board.hold(*(fact for n in range(8) for fact in rated(n, liked=bool(n % 2))))
    plan = planner(board, method="auto", min_rated=4)
    request = await plan.claim("base", make.at(10))
    assert request is not None
    assert (request.method, request.pair_ids, len(request.example_ids)) == ("kto", (), 8)
    assert contents(board, request) == {"unpaired": list(request.example_ids)}
    await board.happen(request)
    assert await plan.claim("base", make.at(10) + timedelta(hours=1)) is None


async def test_thumbs_of_too_few_customers_are_no_run(board: Board) -> None:
    board.hold(*(imported(n, liked=bool(n % 2)) for n in range(8)))
    plan = planner(board, method="kto", min_rated=4)
    assert await plan.claim("base", make.at(10)) is None


async def test_demonstrations_come_first_and_only_before_any_adapter(board: Board) -> None:
    await board.offer(pair(1), pair(2))
    await board.happen(*(imported(n) for n in range(3, 7)))
    plan = planner(board, method="auto", min_demonstrations=4)
    request = await plan.claim("base", make.at(10))
    assert request is not None
    assert (request.method, list(contents(board, request))) == ("sft", ["demonstrations"])
    assert request.reason.startswith("4 demonstrations")
    later = await planner(board, method="auto", min_demonstrations=4).claim(ADAPTER, make.at(10))
    assert later is not None
    assert (later.method, later.pair_ids) == ("dpo", ("p-1", "p-2"))


async def test_rated_answers_are_looked_at_once_a_minute(board: Board) -> None:
    plan = planner(board, method="kto", min_rated=1)
    assert await plan.claim("base", make.at(10)) is None
    await board.happen(*(fact for n in range(4) for fact in rated(n, liked=bool(n % 2))))
    assert await plan.claim("base", make.at(69)) is None
    assert await plan.claim("base", make.at(70)) is not None


async def test_pairs_that_wait_too_long_are_a_run(board: Board) -> None:
    trigger = TriggerPolicy(min_pairs=20, fewest_pairs=2, max_age=timedelta(seconds=60))
    await board.offer(pair(1), pair(2))
    plan = planner(board, trigger=trigger)
    assert await plan.claim("base", make.at(60)) is None
    request = await plan.claim("base", make.at(61))
    assert request is not None
    assert request.reason.startswith("the oldest fresh pair has waited long enough: 2 pairs")


def failure(request: e.TrainingRequested) -> Run:
    name = {"occurred_at": make.at(50), "run_id": request.run_id, "attempt": request.attempt}
    return Run(request, make.at(50), failed=e.TrainingFailed(stage="training", reason="out of memory", **name))


async def test_what_has_just_failed_is_not_a_run_again_until_something_is_added(board: Board) -> None:
    await board.offer(pair(1), pair(2))
    plan = planner(board)
    first = await plan.claim(ADAPTER, make.at(10))
    assert first is not None
    last = failure(first)
    assert await plan.claim(ADAPTER, make.at(60), last) is None
    await board.offer(pair(3))
    second = await plan.claim(ADAPTER, make.at(60), last)
    assert second is not None
    await board.forget("p-3")
    third = await plan.claim(ADAPTER, make.at(90), failure(second))
    assert third is not None
    assert (third.data_hash, third.pair_ids) == (first.data_hash, first.pair_ids)
    assert len({first.run_id, second.run_id, third.run_id}) == 3  # an id that is known already would be no request


async def spoil(board: Board, name: str, state: str) -> None:
    """What makes a pair one that may not be trained on."""
    number = int(name.removeprefix("p-"))
    match state:
        case "quarantined":  # what its prompt quoted has another version now
            await board.offer(replace(pair(number), quoted=(("shipping", make.VERSION),)))
            await board.happen(make.policy("Parcels take two days.", policy_id="shipping"))
        case "withdrawn":
            await board.happen(make.review(number, "reject", subject=name))
        case "held":
            await board.offer(replace(pair(number), held=("too_short: 1 letters and digits, at least 2 are wanted",)))
        case "gone":
            await board.forget(name)


@pytest.mark.parametrize("state", ["quarantined", "withdrawn", "held", "gone"])
@pytest.mark.parametrize("name", ["p-2", "p-20"])
async def test_a_run_ends_when_a_pair_that_it_pins_may_not_be_trained_on_any_more(board: Board, name: str, state: str) -> None:
    await board.offer(*(pair(n) for n in range(1, 8)))
    await board.teach(pair(20), pair(21))
    plan = planner(board)
    request = await plan.claim(ADAPTER, make.at(10))
    assert request is not None
    assert name in (*request.pair_ids, *request.replay_pair_ids)
    await spoil(board, name, state)
    shutil.rmtree(board.runs)
    ended = await plan.retry(request, make.at(11))
    assert isinstance(ended, e.TrainingFailed)
    assert (ended.run_id, ended.attempt, ended.final, ended.unfit) == (request.run_id, 1, True, ())
    assert ended.reason.startswith(f"1 of its examples may not be trained on any more, {name} for one, which is {state}")
    assert not board.runs.exists()


async def test_a_run_ends_when_a_rated_answer_that_it_pins_is_gone(board: Board) -> None:
    board.hold(*(fact for n in range(8) for fact in rated(n, liked=bool(n % 2))))
    plan = planner(board, method="kto", min_rated=4)
    request = await plan.claim("base", make.at(10))
    assert request is not None
    assert isinstance(await plan.retry(request, make.at(11)), e.TrainingRequested)
    await board.happen(make.review(3, "reject"))
    ended = await plan.retry(request, make.at(12))
    assert isinstance(ended, e.TrainingFailed)
    assert "m3 for one" in ended.reason


async def test_pairs_are_as_old_as_the_log_says_though_a_clock_was_slow() -> None:
    board = Board()
    claiming = planner(board, trigger=TriggerPolicy(min_pairs=20, fewest_pairs=2, max_age=timedelta(hours=1)))
    for number in (1, 2):
        reported = make.bad_case(number).model_copy(update={"occurred_at": make.at(-80_000)})
        await board.happen_at(board.now, reported)
        await board.offer(replace(pair(number), evidence_event_id=str(reported.event_id), occurred_at=reported.occurred_at))
    assert await claiming.claim(e.BASE, board.now) is None
    assert await claiming.claim(e.BASE, board.now + timedelta(minutes=59)) is None
    request = await claiming.claim(e.BASE, board.now + timedelta(hours=1))
    assert request is not None
    assert request.pair_ids == ("p-1", "p-2")
