"""The protocols of a model server."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from csqa_loop.events import ChatMessage, Sampling


@dataclass(frozen=True)
class Generation:
    """One answer of the model server."""

    text: str
    adapter: str
    """The adapter that generated it, or `base`."""
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    logprobs: tuple[float, ...] = field(default=())
    """Natural-log probability of each generated token."""


@dataclass(frozen=True)
class Delta:
    """A piece of a streamed answer; the last one carries the whole generation."""

    text: str
    final: Generation | None = None


class Speaker(Protocol):
    """Answers and scores: all that an evaluation needs of a model server."""

    async def generate(
        self, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling, *, fallback: str, stop: Sequence[str] = ()
    ) -> Generation:
        """One answer. A replica that lacks `adapter` is passed over; when all do, `fallback` (the champion) answers, then `base`.

        Raises:
            TransientError: no replica answered within the bounds of time and size, or what one sent is no answer.
            PermanentError: the server refused the request (prompt too long, say).
        """
        ...

    async def score(self, adapter: str, messages: Sequence[ChatMessage], answer: str) -> tuple[float, int]:
        """Sum of natural-log probabilities of the answer's tokens after the prompt, and their number."""
        ...


class ModelServer(Speaker, Protocol):
    """vLLM: one base model, resident adapters, any number of replicas behind one object."""

    def stream(
        self, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling, *, fallback: str, stop: Sequence[str] = ()
    ) -> AsyncIterator[Delta]:
        """As `generate`, in pieces."""
        ...

    async def probe(self, replica: str, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling) -> Generation:
        """One answer of this very replica and adapter, without fallback.

        Raises:
            TransientError: the replica did not answer.
            PermanentError: it lacks the adapter, or refused the request.
        """
        ...

    @property
    def live(self) -> Sequence[str]:
        """URLs of all replicas but those that are known not to answer."""
        ...

    async def serves(self, replica: str) -> frozenset[str] | None:
        """Names that one replica can serve; None where it does not answer within seconds."""
        ...

    async def resident(self) -> dict[str, frozenset[str]]:
        """Replica URL -> names it can serve (`base` and adapters). A replica that does not answer is absent."""
        ...

    async def load(self, replica: str, adapter: str) -> None:
        """Make `adapter` resident on one replica. Idempotent.

        Raises:
            TransientError: the replica did not answer.
            PermanentError: it refused the adapter.
        """
        ...

    async def unload(self, replica: str, adapter: str) -> None:
        """Remove `adapter` from one replica. Idempotent."""
        ...
