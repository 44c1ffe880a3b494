"""What the use cases need from outside. Only where a fake exists too; each fake passes the real one's contract suite."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from csqa_loop.domain.events import ChatMessage, Event, Sampling

Vectors = NDArray[np.float32]
"""Shape (n, dimension), rows of unit length."""


class Bus(Protocol):
    """The log, as a writer."""

    async def publish(self, *events: Event) -> None:
        """Return once the broker acknowledged every event (acks=all).

        Raises:
            TransientError: not acknowledged within the bound; some may have been written, so publish the same events again.
            PermanentError: an event is larger than the topic takes; none of the larger ones was written.
        """
        ...


@dataclass(frozen=True)
class Generation:
    """One answer of the model server."""

    text: str
    adapter: str
    """What generated it: an adapter name, or `base`."""
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


class ModelServer(Protocol):
    """vLLM: one base model, resident adapters, any number of replicas behind one object."""

    async def generate(self, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling, *, fallback: str, stop: Sequence[str] = ()) -> Generation:
        """One answer. A replica that lacks `adapter` is passed over; when all do, `fallback` (the champion) answers, then `base`.

        Raises:
            TransientError: no replica answered within the bound.
            PermanentError: the server refused the request (prompt too long, say).
        """
        ...

    def stream(self, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling, *, fallback: str, stop: Sequence[str] = ()) -> AsyncIterator[Delta]:
        """As `generate`, in pieces."""
        ...

    async def score(self, adapter: str, messages: Sequence[ChatMessage], answer: str) -> tuple[float, int]:
        """Sum of natural-log probabilities of the answer's tokens after the prompt, and their number."""
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
        """Idempotent."""
        ...


class Encoder(Protocol):
    """Text to unit vectors."""

    @property
    def name(self) -> str:
        """Identifies the vectors: two encoders of one name give the same vectors."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    async def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions."""
        ...

    async def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of chunks."""
        ...
