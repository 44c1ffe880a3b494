"""Measuring passes: the champion's greedy answers to every held-out phrasing and to the first phrasing of each other question; never rated."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from csqa_loop.demo.customers import Customers, ReceivedAnswer, Visit, each
from csqa_loop.demo.scenario import Scenario, ScenarioQuestion
from csqa_loop.demo.summary import Score
from csqa_loop.demo.view import View
from csqa_loop.errors import TransientError

_TRIES = 30
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Measured:
    """One pass. A score is None where the scenario has no such questions."""

    champion: str
    holdout: Score | None
    trained: Score | None


async def measure(scenario: Scenario, customers: Customers, view: View, *, champion: str, users: str) -> Measured:
    """One pass over the scenario; `users` begins every user's name.

    Raises:
        TransientError: the gateway does not answer, or keeps answering with another adapter than `champion`.
    """
    held_out = [(question, text) for question in scenario.holdout for text in question.ask]
    trained = [(question, question.ask[0]) for question in scenario.trainable]
    answered = 0

    async def right(numbered: tuple[int, tuple[ScenarioQuestion, str]]) -> bool:
        nonlocal answered
        index, (question, text) = numbered
        answer = await _ask_champion(customers, Visit(f"{users}-{index}", question, text), champion)
        answered += 1
        view.detail(f"{answered} of {len(held_out) + len(trained)} questions, champion {champion}")
        return answer.right

    verdicts = await each(enumerate(held_out + trained), right)
    measured = Measured(champion, _score(verdicts[: len(held_out)]), _score(verdicts[len(held_out) :]))
    view.result(f"champion {champion}: held out {_in_words(measured.holdout)}, trained {_in_words(measured.trained)}")
    return measured


async def _ask_champion(customers: Customers, visit: Visit, champion: str) -> ReceivedAnswer:
    """An answer counts only where the champion gave it: another gateway may lag, or a replica fall back to another adapter."""
    for _ in range(_TRIES):
        answer = await customers.ask(visit, temperature=0.0)
        if answer.adapter == champion:
            return answer
        await asyncio.sleep(_PAUSE_SECONDS)
    raise TransientError(f"the gateway answered with {answer.adapter} {_TRIES} times although the champion is {champion}")


def _score(right: Sequence[bool]) -> Score | None:
    return Score.of(right) if right else None


def _in_words(score: Score | None) -> str:
    return f"{score.correct}/{score.asked} ({score.fraction:.0%})" if score else "none"
