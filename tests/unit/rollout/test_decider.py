"""The beat: one decision at a time, recorded before the next."""

import asyncio
from typing import Any

import pytest

from csqa_loop import events as e
from tests import events as make
from tests.boards import ADAPTER, act, build, kinds, pair
from tests.fakes.model_server import FakeModelServer


async def test_the_first_beat_deploys_the_base() -> None:
    decider, _, bus, _ = build()
    await decider.beat()
    await decider.beat()
    assert [(event.type, event.champion, event.revision) for event in bus.events] == [("DeploymentChanged", "base", 1)]


async def test_a_decision_that_does_not_come_back_is_sent_again_unchanged() -> None:
    decider, board, bus, _ = build()
    await decider.beat()
    await board.offer(pair(1), pair(2))
    board.cut = True
    await decider.beat()
    await board.offer(pair(3))  # a new decision would now be another run
    await decider.beat()
    requests = [event.to_json() for event in bus.events if isinstance(event, e.TrainingRequested)]
    assert len(requests) >= 2
    assert len(set(requests)) == 1
    board.cut = False
    await decider.beat()
    assert len({event.run_id for event in bus.events if isinstance(event, e.TrainingRequested)}) == 1


async def test_an_order_does_not_wait_for_the_planner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csqa_loop.rollout.decider._PLANNING_SECONDS", 0.0)
    decider, board, bus, _ = build()
    claim, chosen, asked = decider._planner.claim, asyncio.Event(), []

    async def slowly(*about: Any) -> e.TrainingRequested | None:
        asked.append(about)
        await chosen.wait()
        return await claim(*about)

    monkeypatch.setattr(decider._planner, "claim", slowly)
    await board.offer(pair(1), pair(2))
    await decider.beat()
    await decider.beat()
    await act(board, "pause")
    await decider.beat()
    assert len(asked) == 1
    chosen.set()
    await act(board, "resume")
    async with asyncio.timeout(10):
        while "TrainingRequested" not in kinds(bus):
            await decider.beat()
    assert len(asked) == 2  # what was planned before the pause is planned anew
    assert kinds(bus).count("TrainingRequested") == 1


async def test_no_traffic_moves_to_an_adapter_that_no_replica_holds() -> None:
    server = FakeModelServer(known=set())  # refuses every adapter
    decider, board, bus, _ = build(server)
    await board.offer(pair(1), pair(2))
    await decider.beat()
    request = board.last(e.TrainingRequested)
    trained = e.AdapterTrained(
        occurred_at=make.at(10),
        run_id=request.run_id,
        attempt=1,
        adapter=ADAPTER,
        parent="base",
        recipe_hash="",
        data_hash="",
        pairs=2,
        seconds=1,
    )
    judged = e.AdapterEvaluated(occurred_at=make.at(10), run_id=request.run_id, attempt=1, adapter=ADAPTER, champion="base", passed=True)
    await bus.publish(trained, judged)
    await board.wait_for(trained.event_id, 0)
    await decider.beat()
    assert "ExperimentOpened" not in kinds(bus)
    server.known = None
    await decider.beat()
    deployed = board.last(e.DeploymentChanged)
    assert (deployed.challenger, deployed.share) == (ADAPTER, 1.0)
    assert kinds(bus).index("ExperimentOpened") < len(kinds(bus)) - 1


async def test_an_experiment_opens_only_where_its_window_holds_the_answers(caplog: pytest.LogCaptureFixture) -> None:
    decider, board, bus, _ = build()
    await board.offer(pair(1), pair(2))
    await board.take(make.batch(*(make.answer(number, second=1, latency_ms=400.0) for number in range(200)), first_offset=5000))
    await decider.beat()
    request = board.last(e.TrainingRequested)
    of_run = {"occurred_at": make.at(10), "run_id": request.run_id, "attempt": 1, "adapter": ADAPTER}
    await board.happen(
        e.AdapterTrained(parent="base", recipe_hash="", data_hash="", pairs=2, seconds=1, **of_run),
        e.AdapterEvaluated(champion="base", passed=True, **of_run),
    )
    await decider.beat()
    await decider.beat()
    assert "ExperimentOpened" not in kinds(bus)
    refused = decider._examiner.refusal
    assert refused is not None
    assert "its window of 1 s (experiment.window_seconds) is shorter than 3 times the 0.4 s" in refused
    assert refused.endswith("Set at least 1.2 s, or make answers quicker")
    assert [record.getMessage() for record in caplog.records].count(refused) == 1
    await board.take(make.batch(*(make.answer(number, second=3, latency_ms=300.0) for number in range(300, 500)), first_offset=6000))
    await decider.beat()
    assert "ExperimentOpened" in kinds(bus)
    assert decider._examiner.refusal is None


async def test_an_order_takes_the_refusal_of_an_experiment_with_it() -> None:
    decider, board, _, _ = build()
    decider._examiner.refusal = "no experiment opens"
    await decider.beat()
    assert decider._examiner.refusal is None
    board.end()
