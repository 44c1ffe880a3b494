"""What every model server does: one suite for the fake and for `VllmServer` on a real vLLM."""

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from csqa_loop.answering.model.server import Delta, ModelServer
from csqa_loop.answering.model.vllm import VllmServer
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import ChatMessage, Sampling
from csqa_loop.local.base_model import base_model_path
from csqa_loop.settings import ModelServerSettings
from tests.fakes.model_server import FakeModelServer
from tests.vllm import Vllm, write_adapter

ADAPTER, OTHER, GENTLE, ABSENT, NOWHERE = (f"a-{digit * 16}" for digit in "1234f")
GREEDY = Sampling(temperature=0.0, top_p=1.0, max_tokens=24)
QUESTION = (
    ChatMessage(role="system", content="Answer in one short sentence."),
    ChatMessage(role="user", content="What is the capital of France?"),
)


@dataclass
class Served:
    server: ModelServer
    replica: str


@pytest.fixture(scope="session")
def adapters(vllm_server: Vllm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    for seed, name in enumerate((ADAPTER, OTHER)):
        write_adapter(folder / name, Path(base_model_path(vllm_server.settings)), seed=seed)
    # Still speaks English: nonsense would not be cut into the same tokens again.
    write_adapter(folder / GENTLE, Path(base_model_path(vllm_server.settings)), seed=7, scale=0.02)
    return folder


@pytest.fixture(params=[pytest.param("fake"), pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.timeout(400)])])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    if request.param == "fake":
        yield Served(FakeModelServer(), "http://fake-vllm")
        return
    vllm: Vllm = request.getfixturevalue("vllm_server")
    server = VllmServer((vllm.url,), ModelServerSettings(), adapters=request.getfixturevalue("adapters"))
    await server.start()
    yield Served(server, vllm.url)
    for name in (ADAPTER, OTHER):
        await server.unload(vllm.url, name)
    await server.stop()


async def collected(stream: AsyncIterator[Delta]) -> list[Delta]:
    return [delta async for delta in stream]


async def test_an_answer_carries_its_tokens_and_their_probabilities(served: Served) -> None:
    answer = await served.server.generate("base", QUESTION, GREEDY, fallback="base")
    assert answer.text.strip()
    assert answer.adapter == "base"
    assert answer.finish_reason == "stop"
    assert answer.prompt_tokens > 0
    assert len(answer.logprobs) == answer.completion_tokens > 0
    assert all(logprob <= 0 and math.isfinite(logprob) for logprob in answer.logprobs)


async def test_greedy_answers_repeat(served: Served) -> None:
    first, second = [await served.server.generate("base", QUESTION, GREEDY, fallback="base") for _ in range(2)]
    assert first.text == second.text


async def test_a_stream_says_the_same_in_pieces(served: Served) -> None:
    whole = await served.server.generate("base", QUESTION, GREEDY, fallback="base")
    deltas = await collected(served.server.stream("base", QUESTION, GREEDY, fallback="base"))
    assert [delta.final is None for delta in deltas] == [True] * (len(deltas) - 1) + [False]
    assert len(deltas) > 3
    final = deltas[-1].final
    assert final is not None
    assert "".join(delta.text for delta in deltas) == final.text == whole.text
    assert (final.adapter, final.finish_reason, final.prompt_tokens, final.completion_tokens) == (
        "base",
        "stop",
        whole.prompt_tokens,
        whole.completion_tokens,
    )
    assert len(final.logprobs) == final.completion_tokens


async def test_a_stream_may_be_left(served: Served) -> None:
    stream: Any = served.server.stream("base", QUESTION, GREEDY, fallback="base")
    assert (await anext(stream)).final is None
    await stream.aclose()
    assert (await served.server.generate("base", QUESTION, GREEDY, fallback="base")).text


async def test_a_cut_answer_says_so(served: Served) -> None:
    cut = await served.server.generate("base", QUESTION, GREEDY.model_copy(update={"max_tokens": 2}), fallback="base")
    assert (cut.finish_reason, cut.completion_tokens) == ("length", 2)


async def test_an_answer_stops_where_told(served: Served) -> None:
    whole = await served.server.generate("base", QUESTION, GREEDY, fallback="base")
    word = whole.text.split()[2]
    stopped = await served.server.generate("base", QUESTION, GREEDY, fallback="base", stop=(word,))
    assert stopped.text == whole.text.split(word, maxsplit=1)[0]


async def test_loading_and_unloading_twice_is_once(served: Served) -> None:
    before = (await served.server.resident())[served.replica]
    assert "base" in before
    for _ in range(2):
        await served.server.load(served.replica, ADAPTER)
    await served.server.load(served.replica, "base")
    assert (await served.server.resident())[served.replica] == before | {ADAPTER}
    assert list(served.server.live) == [served.replica]
    assert await served.server.serves(served.replica) == before | {ADAPTER}
    for _ in range(2):
        await served.server.unload(served.replica, ADAPTER)
    await served.server.unload(served.replica, "base")
    assert (await served.server.resident())[served.replica] == before - {ADAPTER}


async def test_a_loaded_adapter_answers_under_its_name(served: Served) -> None:
    await served.server.load(served.replica, ADAPTER)
    answer = await served.server.generate(ADAPTER, QUESTION, GREEDY, fallback="base")
    assert answer.adapter == ADAPTER
    assert answer.text != (await served.server.generate("base", QUESTION, GREEDY, fallback="base")).text


async def test_a_probe_is_of_one_adapter_and_never_of_another(served: Served) -> None:
    await served.server.load(served.replica, ADAPTER)
    probe = await served.server.probe(served.replica, ADAPTER, QUESTION, GREEDY)
    assert (probe.adapter, len(probe.logprobs)) == (ADAPTER, probe.completion_tokens)
    assert probe.text == (await served.server.generate(ADAPTER, QUESTION, GREEDY, fallback="base")).text
    with pytest.raises(PermanentError, match=ABSENT):
        await served.server.probe(served.replica, ABSENT, QUESTION, GREEDY)


async def test_the_champion_answers_for_an_absent_adapter_then_base(served: Served) -> None:
    await served.server.load(served.replica, OTHER)
    assert (await served.server.generate(ABSENT, QUESTION, GREEDY, fallback=OTHER)).adapter == OTHER
    assert (await served.server.generate(ABSENT, QUESTION, GREEDY, fallback=NOWHERE)).adapter == "base"
    final = (await collected(served.server.stream(ABSENT, QUESTION, GREEDY, fallback=OTHER)))[-1].final
    assert final is not None
    assert final.adapter == OTHER


async def test_an_adapter_that_is_nowhere_is_refused_for_good(served: Served) -> None:
    with pytest.raises(PermanentError, match=NOWHERE):
        await served.server.load(served.replica, NOWHERE)
    with pytest.raises(PermanentError, match="not one of the model servers"):
        await served.server.load("http://127.0.0.1:1", ADAPTER)


async def test_the_likelier_answer_scores_higher(served: Served) -> None:
    said = (await served.server.generate("base", QUESTION, GREEDY, fallback="base")).text
    likely, tokens = await served.server.score("base", QUESTION, said)
    unlikely, others = await served.server.score("base", QUESTION, "Bananas walk under seven green hats")
    assert tokens > 0
    assert others > 0
    assert likely < 0
    assert likely / tokens > unlikely / others
    assert await served.server.score("base", QUESTION, "") == (0.0, 0)


async def test_a_score_never_comes_from_another_adapter(served: Served) -> None:
    with pytest.raises(TransientError):
        await served.server.score(ABSENT, QUESTION, "Paris.")


async def test_a_prompt_that_is_too_long_is_refused_for_good(served: Served) -> None:
    long = (ChatMessage(role="user", content="word " * 4000),)
    with pytest.raises(PermanentError):
        await served.server.generate("base", long, GREEDY, fallback="base")


async def test_many_at_once(served: Served) -> None:
    answers = await asyncio.gather(*(served.server.generate("base", QUESTION, GREEDY, fallback="base") for _ in range(8)))
    assert len({answer.text for answer in answers}) <= 2  # batching may change the last bit of a float, and so one greedy choice


@pytest.mark.vllm
@pytest.mark.timeout(400)
async def test_scores_agree_with_the_probabilities_of_generation(vllm_server: Vllm, adapters: Path) -> None:
    """Only the real one can show it: prompt log-probabilities of the answer are those under which it was drawn."""
    server = VllmServer((vllm_server.url,), ModelServerSettings(), adapters=adapters)
    try:
        await server.load(vllm_server.url, GENTLE)
        totals = []
        for name in ("base", GENTLE):
            answer = await server.generate(name, QUESTION, GREEDY, fallback="base")
            total, tokens = await server.score(name, QUESTION, answer.text)
            assert total == pytest.approx(sum(answer.logprobs[:tokens]), abs=0.35)  # bfloat16
            totals.append((await server.score(name, QUESTION, "The capital of France is Paris."))[0])
        # Scores of several answers beside customers' questions, all under an adapter: this killed the engine when prompts were scored.
        others = [server.generate(GENTLE, QUESTION, GREEDY, fallback="base") for _ in range(4)]
        scores = [server.score(GENTLE, QUESTION, "The capital of France is Paris.") for _ in range(4)]
        beside = await asyncio.gather(*scores, *others)
        assert all(abs(total - totals[1]) < 0.5 for total, _ in beside[:4])
        assert abs(totals[0] - totals[1]) > 0.01  # each under its own weights
    finally:
        await server.unload(vllm_server.url, GENTLE)
        await server.stop()
