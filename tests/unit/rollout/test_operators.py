"""What an operator's word does to the next beat."""

import pytest

from csqa_loop import events as e
from csqa_loop.errors import PermanentError
from csqa_loop.experiment.examiner import Examiner
from csqa_loop.experiment.rules.experiments import Experiment
from tests import events as make
from tests.boards import ADAPTER, CONTRACT, act, build, gated, kinds, pair
from tests.fakes.model_server import FakeModelServer


async def test_a_paused_loop_claims_no_run_and_opens_no_experiment() -> None:
    decider, board, bus, _ = build()
    await decider.beat()
    await act(board, "pause")
    await board.offer(pair(1), pair(2))
    await decider.beat()
    assert "TrainingRequested" not in kinds(bus)
    await act(board, "resume")
    await gated(board, decider)
    await act(board, "pause")
    await decider.beat()
    assert "ExperimentOpened" not in kinds(bus)
    await act(board, "resume")
    await decider.beat()
    assert "ExperimentOpened" in kinds(bus)


async def test_a_pause_lets_an_experiment_end_but_not_grow() -> None:
    decider, board, bus, _ = build(contract=CONTRACT.model_copy(update={"ramp": (0.4, 1.0)}))
    await gated(board, decider)
    await decider.beat()
    await act(board, "pause")
    await board.visit(5)
    await decider.beat()
    assert "ShareRaised" not in kinds(bus)
    assert "VerdictReached" not in kinds(bus)
    await act(board, "resume")
    await decider.beat()
    assert kinds(bus).count("ShareRaised") == 1
    await act(board, "pause")
    await board.visit(5)
    await decider.beat()
    verdict = board.last(e.VerdictReached)
    assert verdict.verdict == "INCONCLUSIVE"


async def test_a_promotion_waits_for_the_end_of_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    decider, board, bus, _ = build()
    await gated(board, decider)
    await decider.beat()

    async def promising(self: Examiner, experiment: Experiment, *, as_of: object, now: object) -> e.VerdictReached:
        return e.VerdictReached(
            occurred_at=make.at(12),
            experiment_id=experiment.opened.experiment_id,
            verdict="PROMOTE",
            as_of=make.at(12),
            stopped_by="",
            estimates=(),
        )

    monkeypatch.setattr(Examiner, "look", promising)
    await act(board, "pause")
    await decider.beat()
    assert "VerdictReached" not in kinds(bus)
    await act(board, "resume")
    await decider.beat()
    deployed = board.last(e.DeploymentChanged)
    assert deployed.champion == ADAPTER


async def test_a_rollback_in_an_experiment_ends_it_first_and_is_done_once() -> None:
    decider, board, bus, reconciler = build()
    await gated(board, decider)
    await decider.beat()
    await board.visit(5)
    name = board.last(e.ExperimentOpened).experiment_id
    order = await act(board, "rollback", target="base", experiment=name)
    await decider.beat()
    verdict, deployed = board.last(e.VerdictReached), board.last(e.DeploymentChanged)
    assert (verdict.verdict, verdict.stopped_by) == ("INCONCLUSIVE", "operator ann: it is rude")
    assert {row.users for row in verdict.estimates if row.metric == "satisfaction" and row.arm != "difference"} == {5}
    assert (deployed.champion, deployed.experiment, deployed.order) == ("base", None, order.event_id)
    published = list(bus.events)
    again, _, _, _ = build(board=board)
    await again.beat()
    assert bus.events == published
    assert all(ADAPTER not in names for names in reconciler.resident.values())


async def test_an_adapter_is_promoted_by_hand_once_every_replica_holds_it() -> None:
    server = FakeModelServer(known=set())
    decider, board, _, _ = build(server)
    await decider.beat()
    order = await act(board, "promote", target=ADAPTER)
    await decider.beat()
    waiting = board.last(e.DeploymentChanged)
    assert (waiting.champion, waiting.candidate, waiting.order) == ("base", ADAPTER, None)
    server.known = None
    await decider.beat()
    deployed = board.last(e.DeploymentChanged)
    assert (deployed.champion, deployed.candidate, deployed.previous_champion, deployed.order) == (ADAPTER, None, "base", order.event_id)


async def test_later_revisions_repeat_the_order_that_was_carried_out() -> None:
    decider, board, _, _ = build()
    await decider.beat()
    order = await act(board, "rollback", target="base")
    await decider.beat()
    await gated(board, decider, second=1000)
    await decider.beat()
    deployed = board.last(e.DeploymentChanged)
    assert deployed.challenger == ADAPTER
    assert deployed.order == order.event_id


async def test_a_rollback_to_the_base_waits_for_no_model_server() -> None:
    server = FakeModelServer()
    decider, board, _, _ = build(server)
    await decider.beat()
    await act(board, "promote", target=ADAPTER)
    await decider.beat()
    server.down = True
    await act(board, "rollback", target="base")
    await decider.beat()
    deployed = board.last(e.DeploymentChanged)
    assert deployed.champion == "base"


async def test_an_experiment_whose_numbers_cannot_be_had_can_be_stopped_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    decider, board, _, _ = build()
    await gated(board, decider)
    await decider.beat()

    async def broken(self: Examiner, experiment: Experiment, *, as_of: object, now: object) -> None:
        raise PermanentError("metric 'rating' is not known")

    monkeypatch.setattr(Examiner, "look", broken)
    await act(board, "rollback", target="base", experiment=board.last(e.ExperimentOpened).experiment_id)
    await decider.beat()
    verdict, deployed = board.last(e.VerdictReached), board.last(e.DeploymentChanged)
    assert (verdict.verdict, deployed.champion, deployed.challenger) == ("INCONCLUSIVE", "base", None)


async def test_a_rollback_does_not_wait_for_the_adapter_at_the_gate() -> None:
    decider, board, bus, _ = build()
    await gated(board, decider, judged=False)
    board.lose(ADAPTER)
    order = await act(board, "rollback", target="base")
    await decider.beat()
    orders = [event.order for event in bus.of_type(e.DeploymentChanged)]
    assert orders[1] == order.event_id
