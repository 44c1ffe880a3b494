"""What the use cases need from outside. Only where a fake exists too; each fake passes the real one's contract suite."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from csqa_loop.cycle.run_rows import Demonstration, Unpaired
from csqa_loop.domain.error_control import PastExperiment
from csqa_loop.domain.events import ChatMessage, Event, Sampling, TrainingRequested
from csqa_loop.domain.examples import Example
from csqa_loop.domain.experiment import ArmTotals
from csqa_loop.domain.plan import RunMethod
from csqa_loop.domain.preferences import Pair
from csqa_loop.domain.rollout import Experiment, LoopState

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


class Speaker(Protocol):
    """What answers and scores: all that an evaluation asks of a model server."""

    async def generate(
        self, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling, *, fallback: str, stop: Sequence[str] = ()
    ) -> Generation:
        """One answer. A replica that lacks `adapter` is passed over; when all do, `fallback` (the champion) answers, then `base`.

        Raises:
            TransientError: no replica answered within the bound.
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
        """Idempotent."""
        ...


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


class RunDirectories(Protocol):
    """Where training jobs find their input."""

    async def prepare(
        self,
        request: TrainingRequested,
        pairs: Sequence[Pair],
        holdout: Sequence[Pair],
        *,
        replay: Sequence[Pair] = (),
        unpaired: Sequence[Unpaired] = (),
        demonstrations: Sequence[Demonstration] = (),
    ) -> None:
        """Write `runs/<run_id>/` whole: request.json last, by rename. Idempotent; a newer attempt repairs what is not whole.

        Raises:
            TransientError: the disk refuses.
        """
        ...

    async def examined(self) -> tuple[str, ...]:
        """Questions beside held-out pairs that the gate asks: never to be trained on.

        Raises:
            PermanentError: they cannot be read.
        """
        ...

    def recipe_hash(self, champion: str, examples_hash: str, method: RunMethod | None) -> str:
        """16 hex over the inputs of a run: base, parent, examples, configuration, code version."""
        ...


class LedgerReader(Protocol):
    """What decisions ask of the ledger."""

    async def state(self, as_of: datetime) -> LoopState:
        """Deployment, latest run, latest experiment."""
        ...

    async def fresh_pairs(self) -> list[Pair]:
        """Trainable pairs that no run has claimed, oldest first."""
        ...

    async def holdout_pairs(self) -> list[Pair]:
        """Pairs that only ever evaluate."""
        ...

    async def taught_pairs(self, champion: str) -> list[Pair]:
        """Pairs that this adapter and those it continues were trained on, and that may still be trained on, oldest first."""
        ...

    async def fresh_examples(self) -> list[Example]:
        """Rated answers and demonstrations that may be trained on and that no run has claimed, oldest first."""
        ...

    async def examples_of(self, example_ids: Sequence[str]) -> list[Example]:
        """The named examples, as far as they may still be trained on."""
        ...

    async def pairs_of(self, pair_ids: Sequence[str]) -> list[Pair]:
        """The named pairs."""
        ...

    async def pair_states(self, pair_ids: Sequence[str]) -> dict[str, str]:
        """The state of each of them now; "gone" where nothing makes the pair any more."""
        ...

    async def totals(self, experiment: Experiment, as_of: datetime, grace_seconds: float) -> tuple[ArmTotals, ArmTotals]:
        """Sums over closed users: challenger, control."""
        ...

    async def exposed(self, experiment_id: str) -> tuple[int, int]:
        """Users exposed so far: challenger, control."""
        ...

    async def past_experiments(self) -> list[PastExperiment]:
        """Every experiment that was ever opened, oldest first."""
        ...

    async def wait_for(self, event_id: UUID, seconds: float) -> bool:
        """Until the ledger holds the event."""
        ...
