"""Questions that arrive together are encoded together."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from csqa_loop.errors import TransientError
from csqa_loop.knowledge.batching import BatchingEncoder
from csqa_loop.knowledge.encoder import Vectors
from tests.fakes.encoder import FakeEncoder


class SlowEncoder(FakeEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.fail = False

    async def encode_queries(self, texts: Sequence[str]) -> Vectors:
        self.batches.append(len(texts))
        await asyncio.sleep(0)
        if self.fail:
            raise TransientError("away")
        return await super().encode_queries(texts)


async def test_each_asker_gets_its_own_vectors() -> None:
    inner = SlowEncoder()
    encoder = BatchingEncoder(inner)
    texts = [f"question {number}" for number in range(100)]
    found = await asyncio.gather(*(encoder.encode_queries([text]) for text in texts))
    assert np.array_equal(np.concatenate(found), inner._encode(texts))
    assert max(inner.batches) > 1
    assert len(inner.batches) < 20
    assert (await encoder.encode_queries([])).shape == (0, encoder.dimension)
    assert np.array_equal(await encoder.encode_queries(["a", "b"]), inner._encode(["a", "b"]))


async def test_a_failure_reaches_every_asker_and_the_next_batch_works() -> None:
    inner = SlowEncoder()
    encoder = BatchingEncoder(inner)
    inner.fail = True
    results = await asyncio.gather(*(encoder.encode_queries(["x"]) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [TransientError] * 3
    inner.fail = False
    assert (await encoder.encode_queries(["x"])).shape == (1, 128)


async def test_an_asker_who_gave_up_disturbs_nobody() -> None:
    encoder = BatchingEncoder(SlowEncoder())
    leaving = asyncio.create_task(encoder.encode_queries(["x"]))
    staying = asyncio.create_task(encoder.encode_queries(["y"]))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await asyncio.wait_for(staying, 5)).shape == (1, 128)
    with pytest.raises(asyncio.CancelledError):
        await leaving
