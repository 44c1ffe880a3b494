"""What a gateway can retrieve: the chunks of the current policy versions, in one FAISS index in memory.

Both topics it is built from are compacted and know no order between them. So it keeps the last record of each policy in each topic, and
serves a document's chunks exactly while their version is the one that `csqa.policies` says is current.
"""

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
from numpy.typing import NDArray

from csqa_loop.errors import PermanentError
from csqa_loop.events import ChunksWithdrawn, Event, PolicyIndexed, PolicyPublished, PolicyWithdrawn, wire
from csqa_loop.knowledge.rules.current import CurrentPolicies
from csqa_loop.knowledge.rules.vectors import unpack_vector
from csqa_loop.knowledge.rules.versions import index_version

if TYPE_CHECKING:
    from csqa_loop.log import Record

_log = logging.getLogger(__name__)
_EMPTY = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved chunk. `score` is the cosine similarity to the query, in [-1, 1]."""

    chunk_id: str
    policy_id: str
    version: str
    section: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class _Document:
    """The chunks of one policy version, with their vectors (n, dimension)."""

    event: PolicyIndexed
    vectors: NDArray[np.float32]


class KnowledgeIndex:
    """One applier, many searchers, any threads: each change and each search holds one lock, for the time of one pass over the vectors."""

    def __init__(self, encoder: str, dimension: int) -> None:
        # The arrays are small: OpenMP's threads would cost more than they give, and would spin beside the model server.
        faiss.omp_set_num_threads(1)
        self._encoder = encoder
        self._dimension = dimension
        self._lock = threading.Lock()
        self._faiss: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))
        self._hits: dict[int, Hit] = {}  # by FAISS id; score not yet known
        self._next_id = 0
        self._policies = CurrentPolicies()
        self._latest: dict[str, _Document] = {}  # last record of csqa.chunks
        self._served: dict[str, _Document] = {}
        self._served_ids: dict[str, NDArray[np.int64]] = {}
        self._as_of = _EMPTY
        self._version: str | None = None  # computed when asked: loading thousands of documents would sort them thousands of times
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
                self._policies.take(event)
                # A publisher whose clock is ahead knows no more than the log.
                recorded_at = datetime.fromtimestamp(timestamp_ms / 1000, UTC) if timestamp_ms > 0 else event.occurred_at
                self._as_of = max(self._as_of, min(event.occurred_at, recorded_at))
            elif isinstance(event, ChunksWithdrawn):
                self._latest.pop(event.policy_id, None)
                self._unserve(event.policy_id)
            elif document is not None:
                self._latest[document.event.policy_id] = document
            else:
                return
            self._settle(event.key)

    def search(self, vector: NDArray[np.float32], k: int) -> list[Hit]:
        """The `k` chunks nearest to a unit vector (dimension,), best first; equal scores in the order of their ids, on every gateway."""
        query = np.ascontiguousarray(vector, dtype=np.float32).reshape(1, -1)
        if query.shape[1] != self._dimension:
            raise PermanentError(f"the query has {query.shape[1]} numbers; encoder {self._encoder} makes {self._dimension}")
        with self._lock:
            wanted = min(k, self._faiss.ntotal)
            if wanted < 1:
                return []
            # FAISS breaks ties by order of arrival, which differs between gateways: look past the end and order them here.
            scores, ids = self._faiss.search(query, min(2 * wanted + 8, self._faiss.ntotal))
            found = [(float(score), self._hits[int(number)]) for score, number in zip(scores[0], ids[0], strict=True)]
        found.sort(key=lambda pair: (-pair[0], pair[1].chunk_id))
        return [
            Hit(hit.chunk_id, hit.policy_id, hit.version, hit.section, hit.text, min(1.0, max(-1.0, score)))
            for score, hit in found[:wanted]
        ]

    @property
    def version(self) -> str:
        """12 hex over the sorted (policy_id, version, encoder) of what is served."""
        with self._lock:
            if self._version is None:
                self._version = index_version((key, document.event.version, self._encoder) for key, document in self._served.items())
            return self._version

    @property
    def as_of(self) -> datetime:
        """When the newest publication or withdrawal taken so far occurred; 1970 while there is none."""
        return self._as_of

    def texts(self) -> list[str]:
        """The text of every chunk that is served, in no order."""
        with self._lock:
            return [hit.text for hit in self._hits.values()]

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
        return _Document(event, vectors)

    def _settle(self, policy_id: str) -> None:
        """Serve the chunks of the current version, or none. A newer version's chunks wait; the present ones stay until it is current."""
        current = self._policies.current.get(policy_id)
        served = self._served.get(policy_id)
        latest = self._latest.get(policy_id)
        if served and (current is None or served.event.version != current.version):
            self._unserve(policy_id)
            served = None
        if latest and latest is not served and current and latest.event.version == current.version:
            self._unserve(policy_id)
            self._serve(policy_id, latest)

    def _serve(self, policy_id: str, document: _Document) -> None:
        event = document.event
        ids = np.arange(self._next_id, self._next_id + len(event.chunks), dtype=np.int64)
        self._next_id += len(event.chunks)
        if len(ids):
            self._faiss.add_with_ids(document.vectors, ids)
        self._hits.update(
            (int(number), Hit(chunk.chunk_id, policy_id, event.version, chunk.section, chunk.text, 0.0))
            for number, chunk in zip(ids, event.chunks, strict=True)
        )
        self._version = None
        self._served[policy_id] = document
        self._served_ids[policy_id] = ids

    def _unserve(self, policy_id: str) -> None:
        self._version = None
        self._served.pop(policy_id, None)
        ids = self._served_ids.pop(policy_id, None)
        if ids is not None and len(ids):
            self._faiss.remove_ids(ids)
            for number in ids:
                del self._hits[int(number)]
