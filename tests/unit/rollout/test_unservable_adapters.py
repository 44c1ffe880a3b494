"""An adapter that cannot be served is waited for, given up, and told of; what it already serves is judged all the while."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from csqa_loop import events as e
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.rollout.decider import Decider
from csqa_loop.rollout.rules.next_step import in_flight
from csqa_loop.training.adapters import AdapterFolders
from csqa_loop.training.rules.attempts import pause_after
from tests import events as make
from tests.boards import ADAPTER, CONTRACT, Board, act, build, deployed, gated, kinds
from tests.fakes.bus import MemoryBus
from tests.fakes.model_server import FakeModelServer

DAY = timedelta(days=1)
ONE, TWO = "http://one", "http://two"


class Refusing(FakeModelServer):
    """Has replicas that refuse to load anything."""

    refusing: frozenset[str] = frozenset()

    async def load(self, replica: str, adapter: str) -> None:
        if replica in self.refusing:
            raise PermanentError(f"{replica} has no room for {adapter}")
        await super().load(replica, adapter)


async def beats(decider: Decider, board: Board, number: int, every: timedelta = DAY) -> None:
    for _ in range(number):
        await decider.beat()
        board.now += every


def silent() -> FakeModelServer:
    return FakeModelServer(answer=lambda adapter, messages: "")


def refused() -> FakeModelServer:
    return FakeModelServer(known=set())


@pytest.mark.parametrize(("server", "reason"), [(silent, "answered a probe with ''"), (refused, "no adapter found")])
async def test_a_candidate_that_cannot_be_served_is_given_up_with_the_reason(server: Callable[[], FakeModelServer], reason: str) -> None:
    decider, board, bus, reconciler = build(server())
    await gated(board, decider)
    await decider.beat()
    assert deployed(board).candidate == ADAPTER
    assert [(trouble.adapter, trouble.since) for trouble in reconciler.troubles] == [(ADAPTER, make.at(10))]
    board.now += timedelta(seconds=599)
    await decider.beat()
    assert "AdapterUnservable" not in kinds(bus)
    board.now += timedelta(seconds=1)
    state = await decider.beat()
    (given_up,) = bus.of_type(e.AdapterUnservable)
    assert (given_up.adapter, given_up.run_id, given_up.attempt) == (ADAPTER, state.run.request.run_id, 1)
    assert given_up.reason.startswith("http://fake-vllm ")
    assert reason in given_up.reason
    assert (deployed(board).candidate, deployed(board).cause.split(":")[0]) == (None, "given up")
    assert state.run.state == "unservable"
    assert not in_flight(state, max_attempts=2)
    assert reconciler.troubles == []
    published = list(bus.events)
    await beats(build(server(), board=board)[0], board, 3)
    assert bus.events == published


async def test_an_outage_speaks_against_no_adapter() -> None:
    server = FakeModelServer()
    decider, board, bus, _ = build(server)
    await gated(board, decider)
    server.down = True
    await beats(decider, board, 60)
    assert deployed(board).candidate == ADAPTER
    server.down = False
    await decider.beat()
    assert "AdapterUnservable" not in kinds(bus)
    assert deployed(board).challenger == ADAPTER


async def test_a_replica_that_is_back_in_time_costs_no_adapter() -> None:
    server = refused()
    decider, board, bus, _ = build(server)
    await gated(board, decider)
    await beats(decider, board, 3, timedelta(seconds=200))
    server.known = None
    await decider.beat()
    assert deployed(board).challenger == ADAPTER
    assert "AdapterUnservable" not in kinds(bus)


async def test_waiting_counts_from_when_the_replicas_were_asked() -> None:
    server = refused()
    decider, board, bus, _ = build(server)
    await gated(board, decider)
    await decider.beat()
    await act(board, "pause")
    await beats(decider, board, 5)
    board.now += DAY
    await act(board, "resume", moment=board.now)
    await decider.beat()
    assert "AdapterUnservable" not in kinds(bus)
    board.now += timedelta(seconds=600)
    await decider.beat()
    assert "AdapterUnservable" in kinds(bus)


@pytest.mark.parametrize("late", [False, True])
async def test_a_lost_or_damaged_folder_is_given_up_at_once(late: bool) -> None:
    decider, board, bus, _ = build(refused() if late else None)
    await gated(board, decider)
    if late:  # when it is the candidate already
        await decider.beat()
        assert deployed(board).candidate == ADAPTER
    board.lose(ADAPTER)
    await decider.beat()
    (given_up,) = bus.of_type(e.AdapterUnservable)
    assert given_up.reason.startswith(f"adapter {ADAPTER} is not in {board.adapters}; ")
    assert deployed(board).candidate is None
    assert "ExperimentOpened" not in kinds(bus)


async def test_an_adapter_lost_before_the_gate_is_made_again() -> None:
    decider, board, bus, _ = build()
    await gated(board, decider, judged=False)
    board.lose(ADAPTER)
    await beats(decider, board, 1, pause_after(1))
    (failed,) = bus.of_type(e.TrainingFailed)
    assert failed.reason.startswith(f"adapter {ADAPTER} is not in {board.adapters}; ")
    await decider.beat()
    assert max(event.attempt for event in bus.of_type(e.TrainingRequested)) == 2
    assert deployed(board).candidate is None


@pytest.mark.parametrize("server", [silent, refused])
@pytest.mark.parametrize("action", ["promote", "rollback"])
async def test_an_order_for_an_adapter_that_cannot_be_served_is_given_up(server: Callable[[], FakeModelServer], action: str) -> None:
    decider, board, _, _ = build(server())
    await decider.beat()
    order = await act(board, action, target=ADAPTER)
    await beats(decider, board, 1, timedelta(seconds=599))
    assert (deployed(board).candidate, deployed(board).order) == (ADAPTER, None)
    await beats(decider, board, 3)
    ended = deployed(board)
    assert (ended.champion, ended.candidate, ended.order, ended.revision) == ("base", None, order.event_id, 3)
    assert ended.cause.startswith("given up: operator ann: it is rude; ")
    assert not in_flight(await decider.beat(), max_attempts=2)


async def test_an_order_for_an_adapter_without_its_folder_is_given_up_at_once() -> None:
    decider, board, _, _ = build()
    board.lose(ADAPTER)
    await decider.beat()
    order = await act(board, "promote", target=ADAPTER)
    await decider.beat()
    ended = deployed(board)
    assert (ended.champion, ended.order, ended.revision) == ("base", order.event_id, 2)
    assert f"{ADAPTER} cannot be served: adapter {ADAPTER} is not in {board.adapters}; " in ended.cause


async def ramped(server: Refusing) -> tuple[Decider, Board, MemoryBus]:
    """At share 0.4, with the larger share decided and a replica that lost the adapter and refuses it."""
    decider, board, bus, _ = build(server, contract=CONTRACT.model_copy(update={"ramp": (0.4, 1.0), "max_users": 10_000}))
    await gated(board, decider)
    await decider.beat()
    assert deployed(board).share == 0.4
    server.held[TWO] = {e.BASE}
    server.refusing = frozenset({TWO})
    await board.visit(5)
    await decider.beat()
    assert "ShareRaised" in kinds(bus)
    assert deployed(board).share == 0.4
    return decider, board, bus


async def test_harm_is_judged_while_a_larger_share_waits_for_a_replica() -> None:
    decider, board, _ = await ramped(Refusing(replicas=(ONE, TWO)))
    await board.visit(600, (0.1, 0.8))
    await decider.beat()
    verdict = board.last(e.VerdictReached)
    assert verdict.verdict == "ROLL_BACK"
    assert (deployed(board).champion, deployed(board).challenger) == ("base", None)


async def test_an_experiment_whose_share_waits_promotes_nobody_and_ends_in_time() -> None:
    decider, board, bus = await ramped(Refusing(replicas=(ONE, TWO)))
    await board.visit(600, (0.8, 0.1))
    await beats(decider, board, 10)
    assert "VerdictReached" not in kinds(bus)
    assert deployed(board).share == 0.4
    await board.visit(600, (0.1, 0.8))  # as many satisfied in either arm as in the other
    await beats(decider, board, 10)
    verdict = board.last(e.VerdictReached)
    assert verdict.verdict == "INCONCLUSIVE"
    assert "max_seconds" in verdict.stopped_by
    assert deployed(board).challenger is None


async def test_an_experiment_whose_larger_share_never_comes_ends_in_time_however_good_the_challenger_is() -> None:
    decider, board, _ = await ramped(Refusing(replicas=(ONE, TWO)))
    await board.visit(600, (0.8, 0.1))
    await beats(decider, board, 14)
    verdict = board.last(e.VerdictReached)
    assert verdict.verdict == "INCONCLUSIVE"
    assert "max_seconds" in verdict.stopped_by
    assert deployed(board).challenger is None


async def test_harm_is_judged_while_the_disk_does_not_tell_of_the_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    decider, board, bus = await ramped(Refusing(replicas=(ONE, TWO)))

    def broken(self: AdapterFolders, name: str) -> str:
        raise TransientError("stale file handle")

    monkeypatch.setattr(AdapterFolders, "fault", broken)
    await beats(decider, board, 3)
    assert "VerdictReached" not in kinds(bus)
    await board.visit(600, (0.1, 0.8))
    await decider.beat()
    assert deployed(board).challenger is None


async def opened_and_lost() -> tuple[Decider, Board, FakeModelServer]:
    """An experiment that is opened and not deployed: the replica restarted in between and refuses the adapter."""
    server = FakeModelServer()
    decider, board, bus, _ = build(server)
    await gated(board, decider)
    publish = bus.publish

    async def restarting(*events: e.Event) -> None:
        await publish(*events)
        if isinstance(events[0], e.ExperimentOpened):
            server.held["http://fake-vllm"], server.known = {e.BASE}, set()

    bus.publish = restarting  # type: ignore[method-assign]
    await decider.beat()
    assert kinds(bus)[-1] == "ExperimentOpened"
    return decider, board, server


async def test_an_experiment_that_no_replica_can_begin_is_ended() -> None:
    decider, board, _ = await opened_and_lost()
    await beats(decider, board, 2)
    verdict = board.last(e.VerdictReached)
    assert verdict.verdict == "INCONCLUSIVE"
    assert verdict.stopped_by.startswith(f"{ADAPTER} cannot be served: ")
    assert (deployed(board).champion, deployed(board).candidate) == ("base", None)


async def test_a_promotion_waits_until_every_replica_holds_the_adapter() -> None:
    server = Refusing(replicas=(ONE, TWO))
    decider, board, bus, _ = build(server, contract=CONTRACT.model_copy(update={"max_users": 10_000}))
    await gated(board, decider)
    await decider.beat()
    server.held[TWO] = {e.BASE}
    server.refusing = frozenset({TWO})
    await board.visit(600, (0.8, 0.1))
    await decider.beat()
    verdict = board.last(e.VerdictReached)
    assert verdict.verdict == "PROMOTE"
    assert deployed(board).champion == "base"
    server.refusing = frozenset()
    await decider.beat()
    assert deployed(board).champion == ADAPTER
    assert kinds(bus).count("VerdictReached") == 1


async def test_a_promotion_that_cannot_be_served_is_given_up() -> None:
    server = Refusing(replicas=(ONE, TWO))
    decider, board, _, _ = build(server, contract=CONTRACT.model_copy(update={"max_users": 10_000}))
    await gated(board, decider)
    await decider.beat()
    server.held[TWO] = {e.BASE}
    server.refusing = frozenset({TWO})
    await board.visit(600, (0.8, 0.1))
    await beats(decider, board, 2)
    assert (deployed(board).champion, deployed(board).challenger) == ("base", None)
    assert deployed(board).cause.startswith("given up: PROMOTE: ")
    assert not in_flight(await decider.beat(), max_attempts=2)
