"""A machine's clock that is set while the loop runs: nothing is decided early, twice, or never."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop import events as e
from csqa_loop.rollout.clock import SteadyClock
from tests import events as make
from tests.boards import ADAPTER, act, build, gated, kinds, pair

HOUR = timedelta(hours=1)


class Machine:
    """A wall clock that people set, and the seconds that have passed."""

    def __init__(self, start: datetime) -> None:
        self.wall, self.seconds = start, 0.0

    def passes(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall += timedelta(seconds=seconds)

    def steady(self) -> SteadyClock:
        return SteadyClock(lambda: self.wall, lambda: self.seconds)


@given(st.lists(st.tuples(st.floats(0, 600), st.floats(-7200, 7200)), max_size=20))
def test_it_never_goes_back_and_gains_or_loses_at_most_a_tenth(steps: list[tuple[float, float]]) -> None:
    machine = Machine(make.START)
    clock = machine.steady()
    for seconds, jump in steps:
        before = clock()
        machine.wall += timedelta(seconds=jump)
        machine.passes(seconds)
        passed = (clock() - before).total_seconds()
        assert 0.9 * seconds - 1e-5 <= passed <= 1.1 * seconds + 1e-5


def test_it_comes_to_agree_with_a_machine_that_was_set_right() -> None:
    machine = Machine(make.START)
    clock = machine.steady()
    machine.wall += HOUR
    for _ in range(11):
        machine.passes(3600)
        clock()
    assert clock() == machine.wall


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_jump_ends_no_window_and_holds_up_no_verdict(jump: timedelta) -> None:
    decider, board, bus, _ = build()
    machine = Machine(board.now)
    clock = machine.steady()
    await gated(board, decider)
    board.now = clock()
    await decider.beat()
    await decider.beat()
    opened = board.last(e.ExperimentOpened)
    shown = {"experiment": opened.experiment_id}
    second = (board.now - make.START).total_seconds()
    for number in range(40):
        arm = "challenger" if number % 2 else "control"
        await board.happen(
            make.exposure(100 + number, second=second, arm=arm, **shown),
            make.answer(100 + number, second=second, arm=arm, **shown),
            make.thumb(100 + number, "up" if number % 2 else "down", second=second),
        )
    machine.wall += jump
    machine.passes(0.5)
    board.now = clock()
    await decider.beat()
    assert "VerdictReached" not in kinds(bus)
    machine.wall -= 2 * jump
    machine.passes(3.0)
    board.now = clock()
    await decider.beat()
    assert kinds(bus).count("VerdictReached") == 1


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_loop_that_starts_under_another_time_does_not_train_twice(jump: timedelta) -> None:
    decider, board, bus, _ = build()
    await board.offer(pair(1), pair(2))
    await decider.beat()
    first = board.last(e.TrainingRequested)
    told = {"run_id": first.run_id, "attempt": 1, "adapter": ADAPTER}
    trained = e.AdapterTrained(occurred_at=board.now, parent="base", recipe_hash="", data_hash="", pairs=2, seconds=1, **told)
    await board.happen(trained, e.AdapterEvaluated(occurred_at=board.now, champion="base", passed=False, **told))
    board.now += jump  # a process believes the machine's time when it starts
    await board.offer(pair(3), pair(4))
    for _ in range(3):
        await decider.beat()
    assert kinds(bus).count("TrainingRequested") == 2
    assert board.last(e.TrainingRequested).run_id != first.run_id
    for _ in range(3):
        await decider.beat()
    assert kinds(bus).count("TrainingRequested") == 2


async def test_the_last_order_in_the_log_stands_though_its_clock_was_behind() -> None:
    decider, board, _, _ = build()
    await decider.beat()
    await act(board, "pause", moment=board.now + HOUR)
    await act(board, "resume", moment=board.now - HOUR)
    assert (await decider.beat()).operators.paused is None


@pytest.mark.parametrize("off", [-HOUR, HOUR])
async def test_a_trainer_whose_clock_is_wrong_is_not_taken_for_dead(off: timedelta) -> None:
    decider, board, bus, _ = build()
    await board.offer(pair(1), pair(2))
    await decider.beat()
    request = board.last(e.TrainingRequested)
    board.now += timedelta(seconds=290)
    progress = e.TrainingProgress(occurred_at=board.now + off, run_id=request.run_id, attempt=1, stage="training", step=1, steps=9)
    await board.happen_at(board.now, progress)
    board.now += timedelta(seconds=290)
    await decider.beat()
    assert kinds(bus).count("TrainingRequested") == 1
    board.now += timedelta(seconds=20)
    await decider.beat()
    assert [event.attempt for event in bus.of_type(e.TrainingRequested)] == [1, 2]
