"""The offline gate at work: champion and candidate on the same held-out pairs and regression questions, through the model server."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TypeVar

from csqa_loop.answering.model.server import ModelServer, Speaker
from csqa_loop.errors import TransientError
from csqa_loop.events import BASE, ChatMessage, GateCheck, Sampling
from csqa_loop.evidence.rules.grading import Probe, grade
from csqa_loop.gate.rules import checks as gate
from csqa_loop.gate.rules.regression import Graded, regression_checks
from csqa_loop.retry import FailedTry, retried
from csqa_loop.settings import GateSettings
from csqa_loop.text.languages import DEFAULT_LANGUAGE
from csqa_loop.training.run.rows import SPLITS, PairRow

_log = logging.getLogger(__name__)
_AT_ONCE = 8
_TRIES = 4
_POLL_SECONDS = 0.5
_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class AskedQuestion:
    """One phrasing of a regression question with the messages the model gets for it."""

    question: Probe
    messages: tuple[ChatMessage, ...]
    language: str = DEFAULT_LANGUAGE


@dataclass(frozen=True)
class Compared:
    """The answers of both to one question."""

    question: str
    champion: str
    candidate: str


@dataclass(frozen=True)
class Findings:
    """The checks, and what they are about."""

    checks: tuple[GateCheck, ...]
    graded: tuple[Graded, ...] = ()
    regression_answers: tuple[Compared, ...] = ()
    """Answers to `graded`, in its order."""
    holdout: tuple[PairRow, ...] = ()
    holdout_answers: tuple[Compared, ...] = ()
    """Answers to `holdout`, in its order, as are the scores."""
    champion_scores: tuple[gate.PairScore, ...] = ()
    candidate_scores: tuple[gate.PairScore, ...] = ()


async def evaluate(
    server: Speaker,
    *,
    champion: str,
    candidate: str,
    holdout: Sequence[PairRow],
    questions: Sequence[AskedQuestion],
    settings: GateSettings,
    max_tokens: int,
) -> Findings:
    """All checks of the gate. Greedy decoding, so that a second evaluation says the same; `max_tokens` is the longest answer.

    Raises:
        TransientError: the model server does not answer, or does not hold one of the two, after a few tries.
    """
    if not settings.enabled:
        return Findings((gate.gate_off(),))
    scores = [await _each(holdout, lambda pair, name=name: _score(server, name, pair)) for name in (champion, candidate)]  # type: ignore[misc]
    prompts = [phrasing.messages for phrasing in questions] + [pair.prompt for pair in holdout]
    greedy = Sampling(temperature=0.0, top_p=1.0, max_tokens=max_tokens, seed=0)
    answers = [await _each(prompts, lambda prompt, name=name: _answer(server, name, prompt, greedy)) for name in (champion, candidate)]  # type: ignore[misc]
    grades = [
        [grade(text, phrasing.question, phrasing.language) for text, phrasing in zip(texts, questions, strict=False)] for texts in answers
    ]
    graded = tuple(Graded(phrasing.question, before, after) for phrasing, before, after in zip(questions, *grades, strict=True))
    last = [prompt[-1].content for prompt in prompts]
    preferences, regression = _preferences(holdout, scores, settings), regression_checks(graded, settings.regression_margin)
    perplexity = gate.perplexity_check(scores[0], scores[1], [pair.question for pair in holdout])
    checks = (*preferences, perplexity, *regression, *gate.sanity_checks(answers[0], answers[1], last))
    superior = gate.superiority_check((*preferences, *regression), required=settings.require_superiority)
    compared = tuple(Compared(question, before, after) for question, before, after in zip(last, *answers, strict=True))
    return Findings(
        checks=(*checks, superior),
        graded=graded,
        regression_answers=compared[: len(graded)],
        holdout=tuple(holdout),
        holdout_answers=compared[len(graded) :],
        champion_scores=tuple(scores[0]),
        candidate_scores=tuple(scores[1]),
    )


async def wait_until_resident(server: ModelServer, adapters: Iterable[str], replicas: Sequence[str], seconds: float) -> None:
    """Return once every replica can serve every adapter.

    Raises:
        TransientError: not within the bound; the message names the replica and what it lacks.
    """
    needed = {name for name in adapters if name != BASE}

    async def look() -> None:
        resident = await server.resident()
        missing = {url: needed - names for url, names in resident.items() if needed - names}
        silent = [url for url in replicas if url.rstrip("/") not in {replica.rstrip("/") for replica in resident}]
        if not missing and not silent:
            return
        lacks = [f"{url} lacks {', '.join(sorted(names))}" for url, names in missing.items()] + [f"{url} does not answer" for url in silent]
        msg = f"candidate and champion are not resident on every model server after {seconds:g} s: {'; '.join(lacks)}"
        raise TransientError(msg)

    await retried(look, repeat(_POLL_SECONDS), within=seconds)


async def patiently(call: Callable[[], Awaitable[_R]]) -> _R:
    """What `call` returns, with a few more tries while its error is transient. Raises the last one."""

    def report_failure(failed: FailedTry) -> None:
        _log.warning("try %d of %d: %s", failed.number, _TRIES, failed.error)

    return await retried(call, range(1, _TRIES), on_failure=report_failure)


async def _score(server: Speaker, adapter: str, pair: PairRow) -> gate.PairScore:
    means, counts = [], []
    for answer in (pair.chosen, pair.rejected):
        if not answer.strip():
            means.append(float("-inf"))  # an empty answer has no tokens to score; it is never the better one
            counts.append(0)
            continue
        total, count = await patiently(lambda answer=answer: server.score(adapter, pair.prompt, answer))  # type: ignore[misc]
        means.append(total / max(count, 1))
        counts.append(count)
    return gate.PairScore(chosen=means[0], rejected=means[1], tokens=max(counts[0], 1))


def _preferences(holdout: Sequence[PairRow], scores: Sequence[Sequence[gate.PairScore]], settings: GateSettings) -> tuple[GateCheck, ...]:
    """Accuracy and margin over the pairs that are held out by question, and over the newest ones, if there are any, apart.

    A candidate may learn what was asked before and fall behind on what is asked now; together the many would hide the few.
    """
    checks: list[GateCheck] = []
    for split in SPLITS:
        places = [place for place, pair in enumerate(holdout) if pair.split == split]
        newest = split == "time"
        if newest and not places:
            continue
        before, after = ([side[place] for place in places] for side in scores)
        about = [holdout[place].question for place in places]
        checks.append(gate.preference_check(before, after, settings.preference_margin, about, newest=newest))
        checks.append(gate.margin_check(before, after, settings.preference_margin_nats, about, newest=newest))
    return tuple(checks)


async def _answer(server: Speaker, adapter: str, prompt: Sequence[ChatMessage], sampling: Sampling) -> str:
    async def ask() -> str:
        generation = await server.generate(adapter, prompt, sampling, fallback=adapter)
        if generation.adapter != adapter:
            # The gate would compare the champion with itself and pass anything.
            msg = f"{generation.adapter} answered for {adapter}: no replica holds it any more"
            raise TransientError(msg)
        return generation.text

    return await patiently(ask)


async def _each(items: Sequence[_T], work: Callable[[_T], Awaitable[_R]]) -> list[_R]:
    """`work` on every item, a few at once, results in order."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def limited(item: _T) -> _R:
        async with limit:
            return await work(item)

    return list(await asyncio.gather(*(limited(item) for item in items)))
