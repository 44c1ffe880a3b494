"""Questions that arrive together are encoded together."""

import asyncio
from collections.abc import Sequence

import numpy as np

from csqa_loop.knowledge.encoder import Encoder, Vectors

_LARGEST_BATCH = 32


class BatchingEncoder:
    """An `Encoder` that never waits to fill a batch: what arrives while one is being encoded makes up the next."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._waiting: list[tuple[str, asyncio.Future[Vectors]]] = []
        self._worker: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Of the encoder inside."""
        return self._encoder.name

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._encoder.dimension

    async def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder`."""
        loop = asyncio.get_running_loop()
        entries = [(text, loop.create_future()) for text in texts]
        self._waiting += entries
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return np.concatenate([await future for _, future in entries]) if entries else np.empty((0, self.dimension), np.float32)

    async def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder`."""
        return await self._encoder.encode_passages(texts)

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_LARGEST_BATCH], self._waiting[_LARGEST_BATCH:]
            try:
                vectors = await self._encoder.encode_queries([text for text, _ in batch])
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for place, (_, future) in enumerate(batch):
                if not future.done():
                    future.set_result(vectors[place : place + 1])
