"""What an adapter is trained on, and what there is to say when it is done."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from csqa_loop.training.rules.plan import Method

Messages = Sequence[Mapping[str, str]]
"""{role, content} each, exactly as the model got them."""
OnStep = Callable[[int, int, float | None], None]
"""Step, steps in all, loss of that step."""


@dataclass(frozen=True)
class Preference:
    """For `prompt`, `chosen` is a better answer than `rejected`."""

    prompt: Messages
    chosen: str
    rejected: str
    weight: float = 1.0
    """How much it counts beside the others; only the ratios matter."""
    name: str = ""


@dataclass(frozen=True)
class Rated:
    """A liked or disliked answer."""

    prompt: Messages
    answer: str
    liked: bool
    name: str = ""


@dataclass(frozen=True)
class Demonstrated:
    """An answer as it should be."""

    prompt: Messages
    answer: str
    name: str = ""


@dataclass(frozen=True)
class Examples:
    """All that one run trains on. DPO takes the pairs, KTO the rated answers and both sides of the pairs, SFT the demonstrations."""

    pairs: Sequence[Preference] = ()
    rated: Sequence[Rated] = ()
    demonstrations: Sequence[Demonstrated] = ()

    def count(self, method: Method) -> int:
        """How many of them `method` trains on."""
        return {"dpo": len(self.pairs), "kto": len(self.rated) + 2 * len(self.pairs), "sft": len(self.demonstrations)}[method]


@dataclass(frozen=True)
class Trained:
    """The figures of a finished training."""

    first_loss: float | None
    """The DPO term alone before step 1, in eval mode: ln 2 when policy and reference agree. None for other methods."""
    metrics: dict[str, float]
    versions: dict[str, str]
    base_revision: str = ""
    base_fingerprint: str = ""
    chosen: dict[str, Any] = field(default_factory=dict)
    """What settings that say `auto` were resolved to."""
    history: tuple[dict[str, float], ...] = ()
    """What was logged, step by step."""
