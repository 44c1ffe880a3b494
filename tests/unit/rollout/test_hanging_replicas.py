"""Replicas that hang or are down hold no decision up."""

import asyncio
from datetime import timedelta

import pytest

from csqa_loop import events as e
from tests.boards import ADAPTER, CONTRACT, act, build, deployed, gated, kinds
from tests.fakes.model_server import FakeModelServer

DAY = timedelta(days=1)
ONE, TWO = "http://one", "http://two"


class Hanging(FakeModelServer):
    """Has a replica that takes requests and answers none of them."""

    hung: str = ""

    async def serves(self, replica: str) -> frozenset[str] | None:
        await self._answer(replica)
        return await super().serves(replica)

    async def load(self, replica: str, adapter: str) -> None:
        await self._answer(replica)
        await super().load(replica, adapter)

    async def unload(self, replica: str, adapter: str) -> None:
        await self._answer(replica)
        await super().unload(replica, adapter)

    async def _answer(self, replica: str) -> None:
        if replica == self.hung:
            await asyncio.Event().wait()


async def test_harm_is_rolled_back_with_a_replica_that_hangs_and_is_not_waited_for() -> None:
    server = Hanging(replicas=(ONE, TWO))
    decider, board, bus, reconciler = build(server, contract=CONTRACT.model_copy(update={"max_users": 10_000}))
    await gated(board, decider)
    await decider.beat()
    server.hung = TWO
    await board.visit(600, (0.1, 0.8))
    before: list[float] = []
    publish, loop = bus.publish, asyncio.get_running_loop()
    began = loop.time()

    async def timed(*events: e.Event) -> None:
        before.append(loop.time() - began)
        await publish(*events)

    bus.publish = timed  # type: ignore[method-assign]
    async with asyncio.timeout(5):
        await decider.beat()
    assert kinds(bus)[-2:] == ["VerdictReached", "DeploymentChanged"]
    assert deployed(board).challenger is None
    # The beat itself stays with the model servers no longer than a replica needs that is well.
    assert max(before) < 0.25
    assert ADAPTER not in server.held[ONE]
    await reconciler.close()


@pytest.mark.parametrize("target", [ADAPTER, "base"])
async def test_a_rollback_is_not_held_up_by_a_replica_that_hangs(target: str) -> None:
    server = Hanging(replicas=(ONE, TWO))
    decider, board, _, reconciler = build(server)
    await decider.beat()
    await act(board, "promote", target=ADAPTER)
    await decider.beat()
    if target == ADAPTER:
        await act(board, "rollback", target="base")
        await decider.beat()
        board.now += DAY  # it is not resident any more
        await decider.beat()
        assert ADAPTER not in server.held[ONE]
    server.hung = TWO
    order = await act(board, "rollback", target=target)
    async with asyncio.timeout(5):
        await decider.beat()
    assert (deployed(board).champion, deployed(board).order) == (target, order.event_id)
    await reconciler.close()


async def test_a_replica_that_is_known_to_be_down_is_not_asked_until_it_answers() -> None:
    server = Hanging(replicas=(ONE, TWO))
    decider, board, _, reconciler = build(server)
    await gated(board, decider)
    server.hung = TWO
    live = property(lambda self: tuple(url for url in self.held if url != self.hung))
    server.__class__ = type("Probing", (Hanging,), {"live": live})
    async with asyncio.timeout(5):
        await decider.beat()
    assert deployed(board).challenger == ADAPTER
    assert set(reconciler.resident) == {ONE}
    server.hung = ""
    await decider.beat()
    assert reconciler.holds_everywhere(ADAPTER)
    assert set(reconciler.resident) == {ONE, TWO}
