"""What a gateway can retrieve: the chunks of each policy, which change places with those of its next version in one step.

Both topics it is built from are compacted and know no order between them. So it keeps the last record of each policy in each topic. An edited
policy goes on in its former version until the chunks of the new one are here; a withdrawn one is gone at once, and its former versions with it.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from csqa_loop.errors import PermanentError
from csqa_loop.events import ChunksWithdrawn, Event, PolicyIndexed, PolicyPublished, PolicyWithdrawn, now, wire
from csqa_loop.knowledge.rules.current import CurrentPolicies
from csqa_loop.knowledge.rules.vectors import unpack_vector
from csqa_loop.knowledge.rules.versions import ServedVersions
from csqa_loop.knowledge.slots import VectorSlots

if TYPE_CHECKING:
    from csqa_loop.log import Record

_log = logging.getLogger(__name__)
_EMPTY = datetime.fromtimestamp(0, UTC)
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved chunk. `score` is the cosine similarity to the query, in [-1, 1]."""

    chunk_id: str
    policy_id: str
    version: str
    section: str
    text: str
    score: float
    title: str = ""


class Listener(Protocol):
    """Is told of each change in its order, while nobody can search: it takes note and returns."""

    def served(self, policy_id: str, hits: Sequence[Hit]) -> None:
        """These are the policy's chunks from now on."""

    def unserved(self, policy_id: str) -> None:
        """It has none any more."""


@dataclass(frozen=True, slots=True)
class _Document:
    """The chunks of one policy version, with their vectors (n, dimension)."""

    version: str
    hits: tuple[Hit, ...]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Served:
    document: _Document
    slots: tuple[int, ...]


class KnowledgeIndex:
    """One applier, many searchers, any threads. A search sees one moment; a change does not wait for it."""

    def __init__(
        self,
        encoder: str,
        dimension: int,
        *,
        stale_seconds: float = 86_400.0,
        clock: Callable[[], datetime] = now,
        listeners: Sequence[Listener] = (),
    ) -> None:
        """`stale_seconds`: how long a former version may go on after the next one was published."""
        self._encoder = encoder
        self._dimension = dimension
        self._stale = timedelta(seconds=stale_seconds)
        self._clock = clock
        self._listeners = tuple(listeners)
        self._lock = threading.Lock()
        self._slots: VectorSlots[Hit] = VectorSlots(dimension)
        self._policies = CurrentPolicies()
        self._latest: dict[str, _Document] = {}  # last record of csqa.chunks, where it is not what is served
        self._served: dict[str, _Served] = {}
        self._places: dict[str, tuple[Hit, int]] = {}  # chunk id -> (chunk, slot)
        self._versions = ServedVersions(encoder)
        self._gone = 0  # counts policies that were taken away
        self._gone_at: dict[str, int] = {}
        self._as_of = _EMPTY
        self._expiries: dict[str, datetime] = {}  # of policies that go on in a former version
        self._next_expiry: datetime | None = None
        self._other_encoders: set[str] = set()

    def apply(self, record: "Record") -> None:
        """Take one record of `csqa.policies` or `csqa.chunks`. A bad one is logged and skipped: the ledger keeps the dead letter."""
        try:
            self.take(wire.decode(record.topic, record.value), record.timestamp_ms)
        except PermanentError as error:
            _log.error("skipped record %s[%d]@%d: %s", record.topic, record.partition, record.offset, error)

    def take(self, event: Event, timestamp_ms: int = 0) -> None:
        """As `apply`, for a decoded event; other events are ignored. `timestamp_ms`: of its record; 0 or less: it has none.

        Raises:
            PermanentError: a vector of the event cannot be read; nothing has changed.
        """
        document = self._document(event) if isinstance(event, PolicyIndexed) else None
        if isinstance(event, PolicyIndexed) and document is None:
            return
        with self._lock:
            if isinstance(event, PolicyPublished | PolicyWithdrawn):
                # A publisher whose clock is ahead knows no more than the log.
                recorded_at = datetime.fromtimestamp(timestamp_ms / 1000, UTC) if timestamp_ms > 0 else event.occurred_at
                moment = min(event.occurred_at, recorded_at)
                self._policies.take(event, moment)
                self._as_of = max(self._as_of, moment)
            elif isinstance(event, ChunksWithdrawn):
                # The withdrawal itself is in the other topic. Late, it must not take away what was published again meanwhile.
                self._latest.pop(event.policy_id, None)
            elif document is not None:
                self._latest[event.key] = document
            else:
                return
            self._settle(event.key)

    def search(self, vector: NDArray[np.float32], k: int) -> list[Hit]:
        """The `k` chunks nearest to a unit vector (dimension,), best first; equal scores in the order of their ids, on every gateway."""
        query = np.ascontiguousarray(vector, dtype=np.float32).reshape(1, -1)
        if query.shape[1] != self._dimension:
            raise PermanentError(f"the query has {query.shape[1]} numbers; encoder {self._encoder} makes {self._dimension}")
        if k < 1:
            return []
        self._expire()
        for _ in range(_TRIES):
            moment = self._gone
            # FAISS breaks ties by place, which differs between gateways: look past the end and order them here.
            found = self._slots.search(query, 2 * k + 8)
            # The search sees the moment of its beginning; what was taken away since is not shown, though it may have come back in another version.
            kept = [(score, hit) for score, hit in found if self._gone_at.get(hit.policy_id, 0) <= moment]
            if len(kept) == len(found):
                break  # else others come in its place
        kept.sort(key=lambda pair: (-pair[0], pair[1].chunk_id))
        return [replace(hit, score=min(1.0, max(-1.0, score))) for score, hit in kept[:k]]

    def judged(self, vector: NDArray[np.float32], chunk_ids: Iterable[str]) -> list[Hit]:
        """Those of the chunks that are served, with their scores as `search` gives them, in the order of `chunk_ids`."""
        with self._lock:
            places = [self._places[chunk_id] for chunk_id in chunk_ids if chunk_id in self._places]
            vectors = self._slots.vectors([slot for _, slot in places])
        scores = (vectors @ vector).tolist()
        return [replace(hit, score=min(1.0, max(-1.0, score))) for (hit, _), score in zip(places, scores, strict=True)]

    def serves(self, policy_id: str) -> bool:
        """Whether the policy has chunks here."""
        return policy_id in self._served

    def __len__(self) -> int:
        """How many chunks are served."""
        return len(self._slots)

    @property
    def version(self) -> str:
        """12 hex over the sorted (policy_id, version, encoder) of what is served."""
        self._expire()
        with self._lock:
            return self._versions.digest

    @property
    def as_of(self) -> datetime:
        """When the newest publication or withdrawal taken so far occurred; 1970 while there is none."""
        return self._as_of

    @property
    def behind(self) -> dict[str, str]:
        """Policy -> the former version that goes on, where the chunks of the current one are not here yet."""
        with self._lock:
            return {policy_id: self._served[policy_id].document.version for policy_id in self._expiries}

    def texts(self) -> list[str]:
        """The text of every chunk that is served, in no order."""
        with self._lock:
            return [hit.text for served in self._served.values() for hit in served.document.hits]

    def _document(self, event: PolicyIndexed) -> _Document | None:
        if event.encoder != self._encoder or event.dimension != self._dimension:
            if event.encoder not in self._other_encoders:
                self._other_encoders.add(event.encoder)
                _log.warning(
                    "chunks of %s were made by encoder %s (%d numbers) and are ignored; this process searches with %s (%d)",
                    event.policy_id, event.encoder, event.dimension, self._encoder, self._dimension,
                )  # fmt: skip
            return None
        vectors = np.empty((len(event.chunks), self._dimension), dtype=np.float32)
        for row, chunk in zip(vectors, event.chunks, strict=True):
            row[:] = unpack_vector(chunk.vector, self._dimension)
        hits = tuple(
            Hit(chunk.chunk_id, event.policy_id, event.version, chunk.section, chunk.text, 0.0, event.title) for chunk in event.chunks
        )
        return _Document(event.version, hits, vectors)

    def _settle(self, policy_id: str) -> None:
        """Serve the current version's chunks, else a former version's, else none."""
        current = self._policies.current.get(policy_id)
        latest, served = self._latest.get(policy_id), self._served.get(policy_id)
        if current is None:
            self._serve(policy_id, None)
            return
        if latest and latest.version == current.version:
            if served is None or served.document.version != latest.version:
                self._serve(policy_id, latest)
            self._latest.pop(policy_id, None)
        elif served is None and latest:
            # As after a start while the indexer is away. Only what was published since the last withdrawal may be quoted.
            superseded = self._policies.superseded_at(policy_id, latest.version)
            if superseded and superseded + self._stale > self._clock():
                self._serve(policy_id, latest)
        self._note_expiry(policy_id, current.version)

    def _serve(self, policy_id: str, document: _Document | None) -> None:
        """Put the policy's chunks in place of those that are there, or take these away."""
        before = self._served.get(policy_id)
        if before is None and document is None:
            return
        for hit in before.document.hits if before else ():
            self._places.pop(hit.chunk_id, None)
        gone = before.slots if before else ()
        if document is None:
            # Published again in this text it needs no indexer.
            kept = replace(before.document, vectors=self._slots.vectors(gone)) if before else None
            if kept is not None:
                self._latest.setdefault(policy_id, kept)
            self._served.pop(policy_id)
            self._expiries.pop(policy_id, None)
            self._slots.replace(gone, np.empty((0, self._dimension), np.float32), ())
            # After it: a search that begins in between is one of those that must look.
            self._gone += 1
            self._gone_at[policy_id] = self._gone
            self._versions.drop(policy_id)
            for listener in self._listeners:
                listener.unserved(policy_id)
            return
        slots = self._slots.replace(gone, document.vectors, document.hits)
        self._served[policy_id] = _Served(replace(document, vectors=np.empty((0, self._dimension), np.float32)), tuple(slots))
        self._places.update((hit.chunk_id, (hit, slot)) for hit, slot in zip(document.hits, slots, strict=True))
        self._versions.put(policy_id, document.version)
        for listener in self._listeners:
            listener.served(policy_id, document.hits)

    def _note_expiry(self, policy_id: str, current: str) -> None:
        self._expiries.pop(policy_id, None)
        served = self._served.get(policy_id)
        if served is None or served.document.version == current:
            return
        superseded = self._policies.superseded_at(policy_id, served.document.version)
        if superseded is None:  # its publication is no longer in the log
            self._serve(policy_id, None)
            return
        self._expiries[policy_id] = expiry = superseded + self._stale
        self._next_expiry = min(expiry, self._next_expiry or expiry)

    def _expire(self) -> None:
        if self._next_expiry is None or self._clock() < self._next_expiry:
            return
        with self._lock:
            moment = self._clock()
            for policy_id in [policy_id for policy_id, expiry in self._expiries.items() if expiry <= moment]:
                _log.warning("policy %s: its former version is too old to be quoted; the current one's chunks are not here yet", policy_id)
                self._serve(policy_id, None)
            self._next_expiry = min(self._expiries.values(), default=None)
