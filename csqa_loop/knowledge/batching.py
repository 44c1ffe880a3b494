"""Questions that arrive together are encoded together, and none waits for long: the queue and every wait have a limit."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from csqa_loop.errors import TransientError
from csqa_loop.knowledge.encoder import Encoder, Tokens, Vectors

_log = logging.getLogger(__name__)
_LARGEST_BATCH = 32
_FAILURES = 3
"""In a row: one refused request on the way to an endpoint is no outage. A call that hangs is one at once."""
_PROBE_EVERY = 1.0
_PROBE = "probe"


class BatchingEncoder:
    """An `Encoder` that never waits to fill a batch: what arrives while one is being encoded makes up the next.

    An encoder that hangs or keeps failing is given up: every question is refused at once, until one probe at a time has succeeded.
    """

    def __init__(self, encoder: Encoder, *, seconds: float = 4.0, most_waiting: int = 256) -> None:
        """`seconds` bound the wait for one question's vector; of `most_waiting` questions none may be more."""
        self._encoder = encoder
        self._seconds = seconds
        self._most_waiting = most_waiting
        self._waiting: list[tuple[str, asyncio.Future[Vectors]]] = []
        self._worker: asyncio.Task[None] | None = None
        self._probing: asyncio.Task[None] | None = None
        self._failures = 0
        self.trouble: str | None = None
        """Why no question is encoded at present."""

    @property
    def name(self) -> str:
        """Of the encoder inside."""
        return self._encoder.name

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._encoder.dimension

    async def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder`.

        Raises:
            TransientError: the encoder is down, does not answer within the limit, or too many questions wait for it.
        """
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        if self.trouble:
            raise TransientError(self.trouble)
        self._waiting = [entry for entry in self._waiting if not entry[1].done()]
        if len(self._waiting) + len(texts) > self._most_waiting:
            raise TransientError(f"{len(self._waiting)} questions wait for the encoder, more than {self._most_waiting} may not")
        loop = asyncio.get_running_loop()
        entries = [(text, loop.create_future()) for text in texts]
        self._waiting += entries
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            async with asyncio.timeout(self._seconds):
                return np.concatenate([await future for _, future in entries])
        except TimeoutError as error:
            raise TransientError(
                self.trouble or f"the encoder {self.name} has no time for a question within {self._seconds:g} s"
            ) from error

    async def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder`."""
        return await self._encoder.encode_passages(texts)

    @property
    def gives_tokens(self) -> bool:
        """Whether `encode_tokens` may be asked."""
        return bool(getattr(self._encoder, "gives_tokens", False))

    async def encode_tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of each text, from an encoder that gives them.

        Raises:
            TransientError: the encoder is down, or does not answer within the limit.
        """
        if self.trouble:
            raise TransientError(self.trouble)
        encode: Callable[[Sequence[str]], Awaitable[list[Tokens]]] = self._encoder.encode_tokens  # type: ignore[attr-defined]  # it gives them
        try:
            async with asyncio.timeout(self._seconds):
                return await encode(texts)
        except TimeoutError as error:
            raise TransientError(f"the encoder {self.name} did not tell of the tokens within {self._seconds:g} s") from error

    async def close(self) -> None:
        """Ask nothing any more."""
        tasks = [task for task in (self._worker, self._probing) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_LARGEST_BATCH], self._waiting[_LARGEST_BATCH:]
            batch = [(text, future) for text, future in batch if not future.done()]
            if not batch:
                continue
            try:
                vectors = await self._ask([text for text, _ in batch])
            except Exception as error:  # whatever it is: it belongs to those who asked
                if self.trouble:
                    batch, self._waiting = batch + self._waiting, []
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for place, (_, future) in enumerate(batch):
                if not future.done():
                    future.set_result(vectors[place : place + 1])

    async def _ask(self, texts: Sequence[str]) -> Vectors:
        """One call, within the limit; afterwards `trouble` says whether there will be another."""
        try:
            async with asyncio.timeout(self._seconds):
                vectors = await self._encoder.encode_queries(texts)
        except TimeoutError as error:
            self._failures = _FAILURES
            message = f"the encoder {self.name} did not answer within {self._seconds:g} s; it is asked again every {_PROBE_EVERY:g} s"
            self._give_up(message)
            raise TransientError(message) from error
        except TransientError as error:
            self._failures += 1
            if self._failures >= _FAILURES:
                self._give_up(str(error))
            raise
        self._failures = 0
        return vectors

    def _give_up(self, why: str) -> None:
        if self.trouble is None:
            _log.warning("no question is encoded: %s", why)
        self.trouble = why
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        while self.trouble:
            await asyncio.sleep(_PROBE_EVERY)
            try:
                await self._ask([_PROBE])
            except TransientError:
                continue
            except Exception as error:  # it answers: what it says of a question is for who asks one
                _log.warning("the encoder answers a probe with %r", error)
            self.trouble = None
            _log.info("the encoder %s answers again", self.name)
