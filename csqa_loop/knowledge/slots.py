"""Unit vectors in numbered slots: a change touches its own rows only, and a search sees one moment and keeps nobody waiting.

Each slot is visible from one epoch to another (multiversion concurrency control): a change writes rows that nobody sees yet, then begins an
epoch in which they are seen and those that they replace are not. A slot is used again when no search of an older epoch runs.
"""

import threading
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import faiss
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
_BLOCK_ROWS = 8192
_NEVER = np.iinfo(np.int64).max


class VectorSlots(Generic[T]):
    """What is found by a vector, from any thread. Exact: every row is compared, in blocks so that growing copies nothing."""

    def __init__(self, dimension: int) -> None:
        # The arrays are small: OpenMP's threads would cost more than they give, and would spin beside the model server.
        faiss.omp_set_num_threads(1)
        self._dimension = dimension
        self._lock = threading.Lock()
        self._blocks: list[NDArray[np.float32]] = []
        self._born: list[NDArray[np.int64]] = []
        self._died: list[NDArray[np.int64]] = []
        self._items: list[T | None] = []
        self._free: list[int] = []
        self._dying: deque[tuple[int, int]] = deque()  # (epoch in which it is seen no more, slot)
        self._searches: Counter[int] = Counter()  # by the epoch that they see
        self._epoch = 0
        self._live = 0

    def __len__(self) -> int:
        return self._live

    def replace(self, gone: Sequence[int], vectors: NDArray[np.float32], items: Sequence[T]) -> list[int]:
        """Take the slots `gone` away and put in `items` with `vectors` (len(items), dimension), in one step; the slots of `items`."""
        with self._lock:
            self._reclaim()
            slots = [self._free.pop() if self._free else self._grown() for _ in items]
            for slot, vector, item in zip(slots, vectors, items, strict=True):
                block, row = divmod(slot, _BLOCK_ROWS)
                self._blocks[block][row] = vector
                self._items[slot] = item
                self._born[block][row], self._died[block][row] = self._epoch + 1, _NEVER
            for slot in gone:
                block, row = divmod(slot, _BLOCK_ROWS)
                self._died[block][row] = self._epoch + 1
                self._dying.append((self._epoch + 1, slot))
            self._epoch += 1
            self._live += len(slots) - len(gone)
            return slots

    def vectors(self, slots: Sequence[int]) -> NDArray[np.float32]:
        """A copy of the vectors (len(slots), dimension) in slots that are in use."""
        with self._lock:
            rows = [self._blocks[slot // _BLOCK_ROWS][slot % _BLOCK_ROWS] for slot in slots]
            return np.array(rows, dtype=np.float32).reshape(len(slots), self._dimension)

    def search(self, query: NDArray[np.float32], most: int) -> list[tuple[float, T]]:
        """At least the `most` nearest to a unit vector (1, dimension), or all: (inner product, item), in no order."""
        with self._lock:
            epoch, blocks, used, live = self._epoch, tuple(self._blocks), len(self._items), self._live
            self._searches[epoch] += 1
        try:
            wanted = most
            while True:
                scores, slots = _nearest(query, blocks, used, wanted)
                with self._lock:
                    found = self._seen(scores, slots, epoch)
                if len(found) >= min(most, live) or wanted >= used:
                    return found
                wanted *= 4  # rows that are not seen stood before those that are
        finally:
            with self._lock:
                self._searches[epoch] -= 1
                if not self._searches[epoch]:
                    del self._searches[epoch]

    def _seen(self, scores: NDArray[np.float32], slots: NDArray[np.int64], epoch: int) -> list[tuple[float, T]]:
        found: list[tuple[float, T]] = []
        for score, slot in zip(scores.tolist(), slots.tolist(), strict=True):
            block, row = divmod(slot, _BLOCK_ROWS)
            item = self._items[slot]
            if self._born[block][row] <= epoch < self._died[block][row] and item is not None:
                found.append((score, item))
        return found

    def _grown(self) -> int:
        slot = len(self._items)
        if slot % _BLOCK_ROWS == 0:
            self._blocks.append(np.zeros((_BLOCK_ROWS, self._dimension), dtype=np.float32))
            self._born.append(np.full(_BLOCK_ROWS, _NEVER, dtype=np.int64))
            self._died.append(np.full(_BLOCK_ROWS, _NEVER, dtype=np.int64))
        self._items.append(None)
        return slot

    def _reclaim(self) -> None:
        oldest = min(self._searches, default=self._epoch)
        while self._dying and self._dying[0][0] <= oldest:
            _, slot = self._dying.popleft()
            block, row = divmod(slot, _BLOCK_ROWS)
            self._items[slot] = None
            self._born[block][row] = _NEVER
            self._blocks[block][row] = 0.0
            self._free.append(slot)


def _nearest(
    query: NDArray[np.float32], blocks: Sequence[NDArray[np.float32]], used: int, wanted: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Inner products and slots of the nearest rows, at least `wanted` where there are so many."""
    found: list[tuple[Any, Any]] = []
    for number, block in enumerate(blocks):
        rows = min(used - number * _BLOCK_ROWS, _BLOCK_ROWS)
        if rows > 0:
            scores, places = faiss.knn(query, block[:rows], min(wanted, rows), metric=faiss.METRIC_INNER_PRODUCT)
            found.append((scores[0], places[0] + number * _BLOCK_ROWS))
    if not found:
        return np.empty(0, np.float32), np.empty(0, np.int64)
    scores, slots = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if len(scores) > wanted:
        # Not only the first `wanted`: equal scores at the end would be cut by place.
        kept = scores >= np.partition(scores, -wanted)[-wanted]
        scores, slots = scores[kept], slots[kept]
    return scores, slots
