"""An encoder without a model: signed hashes of words, so texts that share words are near. Passes the real ones' contract suite."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from csqa_loop.knowledge.encoder import Vectors

_WORD = re.compile(r"[a-z0-9]+|[\u4e00-\u9fff]")


class FakeEncoder:
    """Deterministic across processes. Counts what it was asked, so that a test can see what was not embedded again."""

    def __init__(self, name: str = "fake/words", dimension: int = 128) -> None:
        self.name = name
        self.dimension = dimension
        self.passages: list[str] = []
        self.queries: list[str] = []

    async def encode_queries(self, texts: Sequence[str]) -> Vectors:
        self.queries.extend(texts)
        return self._encode(texts)

    async def encode_passages(self, texts: Sequence[str]) -> Vectors:
        self.passages.extend(texts)
        return self._encode(texts)

    def _encode(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            row[0] = 1e-3  # a text without words has a vector too
            for word in _WORD.findall(text.lower()):
                digest = hashlib.sha256(word.encode()).digest()
                row[int.from_bytes(digest[:4]) % self.dimension] += 1.0 if digest[4] % 2 else -1.0
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
