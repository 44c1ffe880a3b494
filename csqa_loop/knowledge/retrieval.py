"""What answering needs of the policies: chunks near a question, and which state of the policies they come from."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Retrieved(Protocol):
    """A chunk that was found."""

    @property
    def chunk_id(self) -> str:
        """`{policy_id}@{version}#{n}`."""

    @property
    def policy_id(self) -> str:
        """The document."""

    @property
    def version(self) -> str:
        """Of the document, 12 hex."""

    @property
    def section(self) -> str:
        """Heading that the chunk stands under."""

    @property
    def text(self) -> str:
        """What the model gets to read."""

    @property
    def score(self) -> float:
        """Cosine similarity to the query."""


class Knowledge(Protocol):
    """What can be retrieved now."""

    def search(self, vector: NDArray[np.float32], k: int) -> Sequence[Retrieved]:
        """The `k` chunks nearest to a unit vector (dimension,), best first."""

    @property
    def version(self) -> str:
        """Equal on all gateways that hold the same."""

    @property
    def as_of(self) -> datetime:
        """When the newest change in it occurred."""
