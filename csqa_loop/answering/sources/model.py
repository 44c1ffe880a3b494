"""The model server: the arm's adapter, or the champion where no replica holds it."""

from collections.abc import AsyncIterator
from typing import Literal

from csqa_loop.answering.model.server import Delta, Generation, ModelServer
from csqa_loop.answering.question import Prepared


class Model:
    """Answers everything."""

    name: Literal["model"] = "model"

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    def covers(self, prepared: Prepared) -> bool:
        """Always true: it is the last source."""
        del prepared
        return True

    async def answer(self, prepared: Prepared) -> Generation:
        """As `ModelServer.generate`."""
        return await self._server.generate(
            prepared.exposure.adapter, prepared.messages, prepared.sampling, fallback=prepared.fallback, stop=prepared.stop
        )

    def stream(self, prepared: Prepared) -> AsyncIterator[Delta]:
        """As `ModelServer.stream`."""
        return self._server.stream(
            prepared.exposure.adapter, prepared.messages, prepared.sampling, fallback=prepared.fallback, stop=prepared.stop
        )
