"""What is asked of a judge model."""

from collections.abc import Sequence
from typing import Protocol

from csqa_loop.events import ChatMessage


class Judge(Protocol):
    """A stronger model that compares and writes answers."""

    @property
    def model(self) -> str:
        """Its name, for the record."""
        ...

    async def complete(self, messages: Sequence[ChatMessage], *, max_tokens: int, temperature: float) -> str:
        """What it replies; empty where it has nothing to say.

        Raises:
            TransientError: it is down, slow or busy; says where.
            PermanentError: it refused the request, or replied something that is no completion.
        """
        ...
