"""An order that reaches the ledger while the loop is busy deciding comes before what it decides."""

import pytest

from csqa_loop import events as e
from csqa_loop.experiment.examiner import Examiner
from csqa_loop.rollout.decider import Decider
from csqa_loop.rollout.reconciler import Reconciler
from tests.boards import ADAPTER, CONTRACT, Board, act, build, deployed, gated, kinds

_LONG = CONTRACT.model_copy(update={"max_users": 10_000})


async def better() -> tuple[Decider, Board]:
    """The next look promotes the challenger."""
    decider, board, _, _ = build(contract=_LONG)
    await gated(board, decider)
    await decider.beat()
    await board.visit(600, (0.8, 0.1))
    return decider, board


def ordered_during_the_look(monkeypatch: pytest.MonkeyPatch, board: Board, action: str) -> None:
    look, experiment = Examiner.look, board.last(e.ExperimentOpened).experiment_id

    async def slow(self: Examiner, *arguments: object, **named: object) -> object:
        found = await look(self, *arguments, **named)  # type: ignore[arg-type]
        if "OperatorActed" not in kinds(board.bus):
            await act(board, action, experiment=experiment)
        return found

    monkeypatch.setattr(Examiner, "look", slow)


async def test_a_stop_during_the_look_that_would_promote_ends_the_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    decider, board = await better()
    ordered_during_the_look(monkeypatch, board, "stop")
    await decider.beat()
    (verdict,) = board.bus.of_type(e.VerdictReached)
    assert (verdict.verdict, verdict.stopped_by) == ("INCONCLUSIVE", "operator ann: it is rude")
    assert (deployed(board).champion, deployed(board).challenger) == ("base", None)


async def test_a_pause_during_the_look_that_would_promote_holds_the_promotion_back(monkeypatch: pytest.MonkeyPatch) -> None:
    decider, board = await better()
    ordered_during_the_look(monkeypatch, board, "pause")
    await decider.beat()
    assert "VerdictReached" not in kinds(board.bus)
    await act(board, "resume")
    await decider.beat()
    assert deployed(board).champion == ADAPTER


async def test_a_pause_while_a_promotion_waits_for_replicas_holds_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    decider, board = await better()
    settle = Reconciler.settle

    async def slow(self: Reconciler, *arguments: float) -> None:
        await settle(self, *arguments)
        if "VerdictReached" in kinds(board.bus) and "OperatorActed" not in kinds(board.bus):
            await act(board, "pause")

    monkeypatch.setattr(Reconciler, "settle", slow)
    await decider.beat()
    assert kinds(board.bus)[-1] == "OperatorActed"
    assert deployed(board).champion == "base"
    await act(board, "resume")
    await decider.beat()
    assert deployed(board).champion == ADAPTER
