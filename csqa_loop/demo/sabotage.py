"""Corrections that are wrong on purpose, for `--sabotage`."""

import random
import re

from csqa_loop.demo.scenario import Scenario, ScenarioQuestion
from csqa_loop.evidence.rules.grading import judge

_NUMBER = re.compile(r"\d+")
_TRIES = 50


def wrong_correction(scenario: Scenario, question: ScenarioQuestion, randomness: random.Random) -> str:
    """What an agent says about another question, with other numbers. Never right for `question`."""
    candidates = [candidate for candidate in scenario.trainable if candidate.id != question.id and candidate.correction] or [question]
    text = ""
    for _ in range(_TRIES):
        candidate = randomness.choice(candidates)
        text = _NUMBER.sub(lambda match: _another(match[0], randomness), candidate.correction or "")
        if not judge(text, question, scenario.language):
            return text
    return f"{text} {randomness.randint(100, 999)}".replace(question.expect[0], "")


def _another(number: str, randomness: random.Random) -> str:
    """Another number of as many digits, without a leading zero."""
    low, high = (0, 9) if len(number) == 1 else (10 ** (len(number) - 1), 10 ** len(number) - 1)
    drawn = randomness.randint(low, high)
    return str(drawn if drawn != int(number) else low + (drawn + 1 - low) % (high - low + 1))
