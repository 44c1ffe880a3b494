"""An encoder that hangs, in a gateway that is otherwise well: readiness names it within seconds, questions are refused, and it comes back."""

import asyncio
import threading
from pathlib import Path

import httpx
import pytest

from csqa_loop.gateway.app import create_app
from csqa_loop.knowledge.encoder import ThreadedEncoder
from csqa_loop.settings import EncoderSettings
from tests.fakes.encoder import FakeEncoder
from tests.fakes.gateway import World
from tests.gateway_client import QUESTION, asked, refused

pytestmark = pytest.mark.fault(12, "the encoder hangs")


class InThread(FakeEncoder):
    """The encoder of this process: one thread, that hangs until `well`."""

    def __init__(self) -> None:
        super().__init__()
        self.well = threading.Event()
        self.well.set()
        self._threaded = ThreadedEncoder(self.name, self.dimension, self._hang, self._hang)
        self.encode_queries = self._threaded.encode_queries  # type: ignore[method-assign]

    def _hang(self, texts: list[str]) -> object:
        assert self.well.wait(20)
        return self._encode(texts)


async def test_it_is_named_within_seconds_and_used_again_when_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csqa_loop.knowledge.batching._PROBE_EVERY", 0.05)
    world = World(tmp_path, encoder=EncoderSettings(question_seconds=0.2, most_waiting=8))
    world.encoder = encoder = InThread()
    world.with_shop()
    app = create_app(world.parts)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        assert world.parts._starting is not None
        await asyncio.wait_for(asyncio.shield(world.parts._starting), 5)
        await asked(client)
        encoder.well.clear()
        async with asyncio.timeout(5):
            for answer in await asyncio.gather(*(client.post("/v1/chat/completions", json=QUESTION) for _ in range(50))):
                refused(answer, 503)
            # The questions' own wait may end a moment before the encoder is given up.
            while (ready := await client.get("/ready")).status_code != 503:
                await asyncio.sleep(0.02)
        dependencies = ready.json()["dependencies"]
        assert [name for name, seen in dependencies.items() if not seen["ok"]] == ["encoder"]
        assert "did not answer within 0.2 s" in dependencies["encoder"]["trouble"]
        assert (await client.get("/health")).status_code == 200
        encoder.well.set()
        async with asyncio.timeout(5):
            while (await client.get("/ready")).status_code != 200:
                await asyncio.sleep(0.02)
        await asked(client)
