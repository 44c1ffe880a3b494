"""The gate on the demo's shop, seed by seed: a good adapter passes, a sabotaged one does not, a placebo does.

The adapters are said to know what the demo's real ones know (csqa_loop/scenarios/demo.toml); `csqa demo` and `csqa demo --sabotage` show it for real.
"""

import json
import random
import tomllib
from collections.abc import Sequence

import pytest

from csqa_loop.demo.sabotage import wrong_correction
from csqa_loop.demo.scenario_files import load_scenario, packaged
from csqa_loop.events import ChatMessage
from csqa_loop.evidence.rules.grading import Probe
from csqa_loop.gate.evaluate import AskedQuestion, Findings, evaluate
from csqa_loop.gate.rules import checks as gate
from csqa_loop.gate.suite import load_suite
from csqa_loop.settings import GateSettings, RetrievalSettings
from csqa_loop.training.run.rows import PairRow
from tests import run_directories
from tests.fakes.model_server import FakeModelServer

CANDIDATE = "a-" + "1" * 16
FILE = packaged("harbour-shop/scenario.yaml")
SHOP = load_scenario(FILE)
DEMO = GateSettings(**tomllib.loads(packaged("demo.toml").read_text(encoding="utf-8"))["gate"])
BASE, GOOD, PLACEBO, SABOTAGED = "base", "good", "placebo", "sabotaged"
# Right answers of each: on the regression questions, which the base was chosen to know, and on what customers ask.
KNOWN = {BASE: 0.9, GOOD: 0.9, PLACEBO: 0.9, SABOTAGED: 0.3}
ASKED = {BASE: 0.36, GOOD: 0.58, PLACEBO: 0.36, SABOTAGED: 0.12}
SEEDS = (1, 2, 3)


def suite() -> list[AskedQuestion]:
    """The demo's ten regression questions."""
    return list(load_suite(FILE, language="en", retrieval=RetrievalSettings(top_k=1)).questions)


def everything() -> list[AskedQuestion]:
    """A suite as a shop has it after some months: every question that customers ask."""
    return [AskedQuestion(question, (ChatMessage(role="user", content=question.ask[0]),)) for question in SHOP.questions]


def pairs(count: int, seed: int) -> list[PairRow]:
    """Held-out pairs about trainable questions, with the agents' corrections."""
    drawn = random.Random(seed).sample(SHOP.trainable, count)
    made = [run_directories.pair(n, question=one.ask[0], chosen=one.correction or "", rejected="No idea.") for n, one in enumerate(drawn)]
    return [
        PairRow(pair_id=p.pair_id, question=p.question, prompt=json.loads(p.prompt), chosen=p.chosen, rejected=p.rejected) for p in made
    ]


def knowing(asked: Sequence[AskedQuestion], shares: dict[str, float], adapter: str, seed: int) -> FakeModelServer:
    """Base and adapter, each right in its share of the questions; the adapter loses a tenth of what the base knew, whatever it gains."""
    drawn = random.Random(seed)
    said: dict[tuple[str, str], str] = {}
    ids = sorted({one.question.id for one in asked})
    before, wanted = drawn.sample(ids, round(shares[BASE] * len(ids))), round(shares[adapter] * len(ids))
    kept = drawn.sample(before, min(round(0.9 * len(before)), wanted))
    gained = drawn.sample([one for one in ids if one not in before], wanted - len(kept))
    for name, right in ((BASE, {*before}), (adapter, {*kept, *gained})):
        for one in asked:
            texts = right_and_wrong(one.question, drawn)
            said[name, one.messages[-1].content] = texts[0] if one.question.id in right else texts[1]
    if adapter == PLACEBO:
        said |= {(PLACEBO, one.messages[-1].content): said[BASE, one.messages[-1].content] for one in asked}
    held_out = {BASE: 0.24, PLACEBO: 0.24, GOOD: 0.52, SABOTAGED: 0.1}

    def answer(name: str, messages: Sequence[ChatMessage]) -> str:
        question, who = messages[-1].content, BASE if name == BASE else adapter
        if (who, question) in said:
            return said[who, question]
        found = next(one for one in SHOP.questions if question in one.ask)
        # One draw a question for all: what one knows, a better one knows too.
        return (found.correction or "") if random.Random(f"{seed} {question}").random() < held_out[who] else "You may ask at the counter."

    server = FakeModelServer(answer=answer)
    server.held["http://fake-vllm"].add(CANDIDATE)
    return server


def right_and_wrong(question: Probe, drawn: random.Random) -> tuple[str, str]:
    return f"It is {', '.join(question.expect)} as the policy says.", wrong_correction(SHOP, question, drawn)  # type: ignore[arg-type]


async def judged(adapter: str, seed: int, *, many: bool, settings: GateSettings) -> Findings:
    asked = everything() if many else suite()
    server = knowing(asked, ASKED if many else KNOWN, adapter, seed)
    held_out = [] if many else pairs(4, seed)
    return await evaluate(server, champion=BASE, candidate=CANDIDATE, holdout=held_out, questions=asked, settings=settings, max_tokens=40)


def failed(findings: Findings) -> list[str]:
    return [check.name for check in findings.checks if not check.passed]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("adapter", [GOOD, PLACEBO])
async def test_in_the_demo_an_adapter_that_is_no_worse_passes(adapter: str, seed: int) -> None:
    assert failed(await judged(adapter, seed, many=False, settings=DEMO)) == []


@pytest.mark.parametrize("seed", SEEDS)
async def test_in_the_demo_a_sabotaged_adapter_is_refused(seed: int) -> None:
    found = await judged(SABOTAGED, seed, many=False, settings=DEMO)
    assert not gate.verdict(found.checks)
    assert "regression questions" in failed(found)


@pytest.mark.parametrize("seed", SEEDS)
async def test_over_many_questions_the_bounds_tell_them_apart(seed: int) -> None:
    strict = GateSettings(require_superiority=True)
    assert failed(await judged(GOOD, seed, many=True, settings=strict)) == []
    assert failed(await judged(PLACEBO, seed, many=True, settings=strict)) == ["superiority"]
    assert failed(await judged(PLACEBO, seed, many=True, settings=GateSettings())) == []
    assert "regression questions" in failed(await judged(SABOTAGED, seed, many=True, settings=GateSettings()))
