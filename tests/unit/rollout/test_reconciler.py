"""Which replica may get an adapter's traffic."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from csqa_loop.answering.model.server import Generation
from csqa_loop.events import ChatMessage, DeploymentChanged, Sampling
from csqa_loop.rollout.reconciler import Reconciler
from tests import events as make
from tests.fakes.model_server import FakeModelServer

ADAPTER = "a-0123456789abcdef"
DEPLOYMENT = DeploymentChanged(occurred_at=make.at(0), revision=1, champion="base", candidate=ADAPTER, cause="test")


class Probed(FakeModelServer):
    """Counts its probes, and answers them with the probability that it is given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.probes: list[tuple[str, str]] = []
        self.logprob = -0.1

    async def probe(self, replica: str, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling) -> Generation:
        self.probes.append((replica, adapter))
        return replace(await super().probe(replica, adapter, messages, sampling), logprobs=(self.logprob,))


async def test_no_traffic_before_every_replica_answered_a_probe() -> None:
    server = Probed(replicas=("http://one", "http://two"))
    reconciler = Reconciler(server)
    assert not reconciler.holds_everywhere(ADAPTER)
    await reconciler.reconcile(DEPLOYMENT, make.at(1))
    assert reconciler.holds_everywhere(ADAPTER)
    assert reconciler.holds_everywhere("base")
    assert reconciler.disagreements(DEPLOYMENT, make.at(1)) == []
    await reconciler.reconcile(DEPLOYMENT, make.at(2))
    assert sorted(server.probes) == [("http://one", ADAPTER), ("http://two", ADAPTER)]


@pytest.mark.parametrize(("text", "logprob"), [("  ", -0.1), ("Hello", math.nan)])
async def test_an_adapter_that_says_nothing_gets_none(text: str, logprob: float) -> None:
    server = Probed(answer=lambda adapter, messages: text)
    server.logprob = logprob
    reconciler = Reconciler(server)
    await reconciler.reconcile(DEPLOYMENT, make.at(1))
    assert not reconciler.holds_everywhere(ADAPTER)
    assert reconciler.disagreements(DEPLOYMENT, make.at(1)) == [("http://fake-vllm", f"did not answer a probe with {ADAPTER}")]
    server.answer, server.logprob = lambda adapter, messages: "Hello", -0.1
    await reconciler.reconcile(DEPLOYMENT, make.at(2))
    assert reconciler.holds_everywhere(ADAPTER)


async def test_a_replica_that_restarted_is_probed_again() -> None:
    server = Probed()
    reconciler = Reconciler(server)
    await reconciler.reconcile(DEPLOYMENT, make.at(1))
    server.held["http://fake-vllm"] = {"base"}
    server.known = set()
    await reconciler.reconcile(DEPLOYMENT, make.at(2))
    assert not reconciler.holds_everywhere(ADAPTER)
    server.known = None
    await reconciler.reconcile(DEPLOYMENT, make.at(3))
    assert reconciler.holds_everywhere(ADAPTER)
    assert len(server.probes) == 2


async def test_what_waits_for_a_replica_hears_when_it_serves_the_adapter() -> None:
    server = Probed(known=set())
    reconciler = Reconciler(server)
    await reconciler.reconcile(DEPLOYMENT, make.at(1))
    waiting = asyncio.create_task(reconciler.gained())
    await asyncio.sleep(0)
    assert not waiting.done()
    server.known = None
    await reconciler.reconcile(DEPLOYMENT, make.at(2))
    await waiting
    reconciler.begin(DEPLOYMENT, make.at(3))
    again = asyncio.create_task(reconciler.gained())
    await reconciler.settle()
    assert not again.done()
    again.cancel()


async def test_an_older_deployment_takes_nothing_away() -> None:
    server = Probed()
    reconciler = Reconciler(server)
    newer = DEPLOYMENT.model_copy(update={"revision": 2})
    await reconciler.reconcile(newer, make.at(1))
    await reconciler.reconcile(DEPLOYMENT.model_copy(update={"candidate": None}), make.at(2))
    assert reconciler.holds_everywhere(ADAPTER)
    await reconciler.reconcile(newer.model_copy(update={"revision": 3, "candidate": None}), make.at(3))
    assert ADAPTER not in server.held["http://fake-vllm"]
