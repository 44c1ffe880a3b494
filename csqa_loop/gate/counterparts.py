"""Two model servers as one, so that an evaluation can compare adapters that no single one serves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from csqa_loop.answering.model.server import Generation, Speaker
from csqa_loop.events import ChatMessage, Sampling


@dataclass(frozen=True)
class Counterparts:
    """Implements `model.server.Speaker`. Requests for `name` go to `candidate`, which serves it as `served_as`; all others to `usual`.

    The same adapter may be on both sides, merged on one of them: `name` must be none that `usual` serves.
    """

    usual: Speaker
    candidate: Speaker
    name: str
    served_as: str

    async def generate(
        self, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling, *, fallback: str, stop: Sequence[str] = ()
    ) -> Generation:
        """See `model.server.Speaker.generate`. The candidate has no fallback but its own server's base, under that name."""
        if adapter != self.name:
            return await self.usual.generate(adapter, messages, sampling, fallback=fallback, stop=stop)
        generation = await self.candidate.generate(self.served_as, messages, sampling, fallback=self.served_as, stop=stop)
        return replace(generation, adapter=self.name) if generation.adapter == self.served_as else generation

    async def score(self, adapter: str, messages: Sequence[ChatMessage], answer: str) -> tuple[float, int]:
        """See `model.server.Speaker.score`."""
        if adapter != self.name:
            return await self.usual.score(adapter, messages, answer)
        return await self.candidate.score(self.served_as, messages, answer)
