"""The protocol of a judge model."""

from collections.abc import Sequence
from typing import Protocol

from csqa_loop.events import ChatMessage


class Judge(Protocol):
    """A stronger model that compares and writes answers."""

    @property
    def model(self) -> str:
        """The model's name, for the record."""
        ...

    async def complete(self, messages: Sequence[ChatMessage], *, max_tokens: int, temperature: float) -> str:
        """Its reply; may be empty.

        Raises:
            TransientError: it is down, slow or busy; says where.
            PermanentError: it refused the request, or replied something that is no completion.
        """
        ...
