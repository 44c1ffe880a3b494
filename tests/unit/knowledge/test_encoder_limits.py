"""An encoder that hangs or fails: nobody waits long, the queue has an end, and one probe at a time finds out when it is back."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from csqa_loop.errors import TransientError
from csqa_loop.knowledge.batching import BatchingEncoder
from csqa_loop.knowledge.encoder import Vectors
from tests.fakes.encoder import FakeEncoder


class Hanging(FakeEncoder):
    """Answers while it is `well`, and hangs else; keeps how many calls were open at once."""

    def __init__(self) -> None:
        super().__init__()
        self.well = asyncio.Event()
        self.calls = self.open = self.most_open = 0
        self.error: Exception | None = None

    async def encode_queries(self, texts: Sequence[str]) -> Vectors:
        self.calls += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            if self.error:
                raise self.error
            await self.well.wait()
        finally:
            self.open -= 1
        return await super().encode_queries(texts)


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csqa_loop.knowledge.batching._PROBE_EVERY", 0.02)


async def test_a_hanging_encoder_is_down_after_one_time_out_and_refuses_at_once() -> None:
    inner = Hanging()
    encoder = BatchingEncoder(inner, seconds=0.05)
    results = await asyncio.gather(*(encoder.encode_queries([str(n)]) for n in range(100)), return_exceptions=True)
    assert {type(result) for result in results} == {TransientError}
    assert encoder.trouble is not None
    assert "did not answer within 0.05 s" in encoder.trouble
    began = time.monotonic()
    with pytest.raises(TransientError, match="did not answer"):
        await encoder.encode_queries(["x"])
    assert time.monotonic() - began < 0.04
    assert inner.most_open == 1
    assert encoder._waiting == []
    await encoder.close()


async def test_it_is_asked_again_with_one_probe_until_it_answers() -> None:
    inner = Hanging()
    encoder = BatchingEncoder(inner, seconds=0.3)
    with pytest.raises(TransientError):
        await encoder.encode_queries(["x"])
    async with asyncio.timeout(5):
        while not encoder.trouble:
            await asyncio.sleep(0.005)
        inner.well.set()
        while encoder.trouble:
            await asyncio.sleep(0.005)
    assert (await encoder.encode_queries(["x"])).shape == (1, 128)
    assert inner.most_open == 1
    await encoder.close()


async def test_more_questions_than_may_wait_are_refused_at_once() -> None:
    inner = Hanging()
    encoder = BatchingEncoder(inner, seconds=10, most_waiting=3)
    taken = [asyncio.create_task(encoder.encode_queries([str(n)])) for n in range(1)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the first one is being encoded, and waits no more
    taken += [asyncio.create_task(encoder.encode_queries([str(n)])) for n in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(TransientError, match="3 questions wait"):
        await encoder.encode_queries(["one too many"])
    inner.well.set()
    assert len(await asyncio.gather(*taken)) == 4


async def test_one_failure_is_no_outage_and_three_in_a_row_are() -> None:
    inner = Hanging()
    inner.well.set()
    encoder = BatchingEncoder(inner)
    for failures in (2, 3):
        inner.error = TransientError("the endpoint answered 503")
        for _ in range(failures):
            with pytest.raises(TransientError):
                await encoder.encode_queries(["x"])
        assert (encoder.trouble is None) is (failures == 2)
        inner.error = None
        async with asyncio.timeout(5):
            while encoder.trouble:
                await asyncio.sleep(0.005)
        await encoder.encode_queries(["x"])
    await encoder.close()
