"""Aligning real replicas over HTTP when one of them takes connections and never answers, or answers something else."""

import asyncio
from pathlib import Path

import pytest

from csqa_loop.answering.model.vllm import VllmServer
from csqa_loop.errors import PermanentError
from csqa_loop.events import ChatMessage, DeploymentChanged, Sampling
from csqa_loop.rollout.reconciler import Reconciler
from csqa_loop.settings import ModelServerSettings
from tests import events as make
from tests.fakes.replica import Replica, send

ADAPTER = "a-" + "1" * 16
DEPLOYMENT = DeploymentChanged(occurred_at=make.at(0), revision=1, champion="base", candidate=ADAPTER)


async def test_a_hung_replica_holds_up_nobody_and_is_aligned_when_it_is_back() -> None:
    well, hung = Replica(), Replica()
    hung.hang = True
    listeners = [await asyncio.start_server(replica, "127.0.0.1", 0) for replica in (well, hung)]
    urls = [f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}" for listener in listeners]
    server = VllmServer(urls, ModelServerSettings(), adapters=Path("adapters"))
    reconciler, loop = Reconciler(server), asyncio.get_running_loop()
    took: list[float] = []
    try:
        async with asyncio.timeout(20):
            while not server._replicas[1].answered:
                began = loop.time()
                await reconciler.reconcile(DEPLOYMENT, make.at(1))
                took.append(loop.time() - began)
                if reconciler.holds_everywhere(ADAPTER):
                    # The one that never answered is known not to: it was asked, and is not counted.
                    assert set(reconciler.resident) == {urls[0]}
                    await server.start()
                    hung.hang = False
                    hung.released.set()
                await asyncio.sleep(0.05)
            while set(reconciler.resident) != set(urls) or not reconciler.holds_everywhere(ADAPTER):
                await reconciler.reconcile(DEPLOYMENT, make.at(2))
                await asyncio.sleep(0.05)
        assert ADAPTER in well.held & hung.held
        # Most passes wait for nobody; one that begins on the hung replica waits for what a well one needs.
        assert sorted(took)[len(took) // 2] < 0.2
        assert max(took) < 2.0
    finally:
        await reconciler.close()
        await server.stop()
        hung.released.set()
        for listener in listeners:
            listener.close()


async def test_a_probe_that_is_answered_by_something_else_is_a_refusal() -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await send(writer, 200, b"<html>It works!</html>")
        writer.close()

    listener = await asyncio.start_server(page, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    server = VllmServer([url], ModelServerSettings(), adapters=Path("adapters"))
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=8)
    with pytest.raises(PermanentError, match="no completion"):
        await server.probe(url, ADAPTER, (ChatMessage(role="user", content="Hello"),), sampling)
    await server.stop()
    listener.close()
