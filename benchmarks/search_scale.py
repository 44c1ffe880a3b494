"""The index under load: searches a second from 8 clients at 10,000 documents, and 100,000 chunks with changes beside.

    make bench NAME=search_scale

Vectors and texts are made up (seeded), so the encoder costs nothing; dense and lexical stages are the product's. The baseline is FAISS's flat index, searched alone.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Sequence

import faiss
import numpy as np
import psutil
from _bench import Figure, figure, report

from csqa_loop.events import PolicyPublished, now
from csqa_loop.events.policies import Chunk, PolicyIndexed
from csqa_loop.knowledge.encoder import Vectors
from csqa_loop.knowledge.index import KnowledgeIndex
from csqa_loop.knowledge.retrieval import Retriever
from csqa_loop.knowledge.rules.vectors import pack_vector
from csqa_loop.knowledge.rules.versions import policy_version
from csqa_loop.knowledge.stages.lexical import LexicalIndex

SEED = 1
DIMENSION = 384
WORDS = [f"word{number}" for number in range(20_000)]
CHUNKS_A_DOCUMENT = 10


class Numbers:
    """A stand-in for an encoder: a question is the number of its vector."""

    name, dimension = "stand-in", DIMENSION

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    async def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Rows of the vectors that the texts begin with."""
        return self._vectors[[int(text.split()[0]) for text in texts]]

    async def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Not asked."""
        raise NotImplementedError


def unit(chance: np.random.Generator, rows: int) -> Vectors:
    """Random directions (rows, DIMENSION)."""
    vectors = chance.standard_normal((rows, DIMENSION), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def document(chance: np.random.Generator, name: str, edit: int) -> tuple[PolicyPublished, PolicyIndexed]:
    """A document of 10 chunks of 80 words, Zipf-like, as both topics say it."""
    picked = np.minimum(chance.zipf(1.3, (CHUNKS_A_DOCUMENT, 80)), len(WORDS)) - 1
    texts = [" ".join(WORDS[word] for word in row) for row in picked]
    text = f"{edit}\n" + "\n\n".join(texts)
    version = policy_version(text)
    vectors = unit(chance, CHUNKS_A_DOCUMENT)
    chunks = tuple(
        Chunk.model_construct(chunk_id=f"{name}@{version}#{number}", section="", text=one, vector=pack_vector(vector))
        for number, (one, vector) in enumerate(zip(texts, vectors, strict=True))
    )
    published = PolicyPublished.model_construct(
        occurred_at=now(), event_id=None, policy_id=name, version=version, title="", language="en", text=text
    )
    indexed = PolicyIndexed.model_construct(
        occurred_at=now(), event_id=None, policy_id=name, version=version, title="", encoder="stand-in", dimension=DIMENSION, chunks=chunks
    )
    return published, indexed


async def measured(documents: int, clients: int, searches: int, *, changing: bool) -> tuple[list[float], float, list[float], float]:
    """(milliseconds of each search, searches a second, milliseconds of each change, bytes of memory a chunk)."""
    chance, memory = np.random.default_rng(SEED), psutil.Process()
    lexical = LexicalIndex()
    index = KnowledgeIndex("stand-in", DIMENSION, listeners=[lexical])
    before = memory.memory_info().rss
    for number in range(documents):
        for event in document(chance, f"p{number}", 0):
            index.take(event)
    await asyncio.to_thread(lexical.settle, 300.0)
    grown = (memory.memory_info().rss - before) / (documents * CHUNKS_A_DOCUMENT)
    asked = unit(chance, 512)
    retriever = Retriever(Numbers(asked), index, lexical=lexical, min_score=0.0)
    picks = random.Random(SEED)
    took: list[float] = []
    changes: list[float] = []
    done = asyncio.Event()

    async def client(number: int) -> None:
        for _ in range(number, searches, clients):
            question = f"{picks.randrange(len(asked))} {' '.join(picks.choices(WORDS[:2000], k=8))}"
            began = time.perf_counter()
            await retriever.retrieve(question, 10)
            took.append((time.perf_counter() - began) * 1000)

    async def change() -> None:
        while not done.is_set():
            events = document(chance, f"p{picks.randrange(documents)}", picks.randrange(1 << 30))
            began = time.perf_counter()
            for event in events:
                index.take(event)
            changes.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.05)

    changer = asyncio.create_task(change()) if changing else None
    began = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    seconds = time.perf_counter() - began
    done.set()
    if changer:
        await changer
    lexical.close()
    return took, searches / seconds, changes, grown


def flat(chunks: int, searches: int) -> list[float]:
    """Milliseconds of each search in FAISS's flat index, alone."""
    chance = np.random.default_rng(SEED)
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(unit(chance, chunks))
    asked, took = unit(chance, searches), []
    for row in asked:
        began = time.perf_counter()
        index.search(row.reshape(1, -1), 50)
        took.append((time.perf_counter() - began) * 1000)
    return took


def p99(milliseconds: list[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(milliseconds, n=100)[98]


def main() -> int:
    """The exit status."""
    took, rate, _, _ = asyncio.run(measured(1_000, 8, 4_000, changing=False))
    figures: list[Figure] = [
        figure("10,000 chunks, 8 clients: searches a second", rate, "1/s", n=len(took), seed=SEED, goal=425, at_least=True),
        figure("10,000 chunks, 8 clients: p99", p99(took), "ms", n=len(took), seed=SEED, goal=35),
    ]
    took, _, changes, grown = asyncio.run(measured(10_000, 1, 600, changing=True))
    exact = flat(100_000, 200)
    figures += [
        figure("100,000 chunks, hybrid: p50", statistics.median(took), "ms", n=len(took), seed=SEED, baseline=statistics.median(exact)),
        figure("100,000 chunks, hybrid: p99", p99(took), "ms", n=len(took), seed=SEED, goal=20, baseline=p99(exact)),
        figure("100,000 chunks: a changed document, p50", statistics.median(changes), "ms", n=len(changes), seed=SEED),
        figure("100,000 chunks: a changed document, p99", p99(changes), "ms", n=len(changes), seed=SEED, goal=5),
        figure("100,000 chunks: memory a chunk", grown / 1024, "KiB", n=100_000, seed=SEED),
    ]
    return report("search_scale", figures)


if __name__ == "__main__":
    raise SystemExit(main())
