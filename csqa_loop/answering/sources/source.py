"""The protocol of every answer source."""

from collections.abc import AsyncIterator
from typing import Literal, Protocol

from csqa_loop.answering.model.server import Delta, Generation
from csqa_loop.answering.question import Prepared


class AnswerSource(Protocol):
    """Something that answers a prepared question. The answerer asks the first one that covers it."""

    @property
    def name(self) -> Literal["model", "cache", "tool", "refusal"]:
        """The source's name in the answer's event."""
        ...

    def covers(self, prepared: Prepared) -> bool:
        """Whether this source answers such a question."""
        ...

    async def answer(self, prepared: Prepared) -> Generation:
        """The whole answer.

        Raises:
            TransientError: it cannot answer now.
            PermanentError: it refuses the question (too long, say).
        """
        ...

    def stream(self, prepared: Prepared) -> AsyncIterator[Delta]:
        """As `answer`, in pieces."""
        ...


def words_alone(prepared: Prepared, text: str, *, tokens: int = 0) -> Generation:
    """A generation of which nothing is known but its text."""
    return Generation(text, prepared.exposure.adapter, 0, tokens, "stop")
