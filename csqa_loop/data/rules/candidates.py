"""Examples that a model wrote: which of them may stand beside those of people."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from csqa_loop.data.rules.examples import Example
from csqa_loop.evidence.judge.rules.judging import LONGEST_REPLY
from csqa_loop.text.languages import language_of
from csqa_loop.text.numbers import numbers_in

_SHORTEST_QUESTION, _LONGEST_QUESTION = {"en": 8, "zh": 4}, 600
_SHORTEST_ANSWER, _LONGEST_ANSWER = 2, 2000
_JSON = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class WrittenExample:
    """A question and its answer as a model wrote them."""

    question: str
    answer: str


def source_of(example: Example) -> str:
    """What a new answer may rest on: all that the model was given to read, and the answer itself."""
    read = [message.content for message in example.messages if message.role == "system"]
    return "\n\n".join((*read, example.answer))


def parsed(reply: str) -> WrittenExample | None:
    """The first JSON object with a question and an answer in a reply, which may hold other text around it; None where there is none."""
    if len(reply) > LONGEST_REPLY:
        return None
    place = reply.find("{")
    while place >= 0:
        try:
            found: Any = _JSON.raw_decode(reply, place)[0]
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) and isinstance(found.get("question"), str) and isinstance(found.get("answer"), str):
            return WrittenExample(found["question"], found["answer"])
        place = reply.find("{", place + 1)
    return None


def objection(candidate: WrittenExample, original: Example, evasions: Sequence[str]) -> str | None:
    """Why a candidate is left out; None where it may stay. Whether its question is new is for who knows the others."""
    language = language_of(original.question)
    question, answer = candidate.question, candidate.answer
    if language_of(question, language) != language or language_of(answer, language) != language_of(original.answer, language):
        return f"it is in another language than its source ({language})"
    if not any(character.isalpha() for character in question):
        return "its question holds no letters"
    if len(question) < _SHORTEST_QUESTION[language]:
        return f"its question is too short ({len(question)} characters)"
    if len(question) > _LONGEST_QUESTION or len(answer) > _LONGEST_ANSWER:
        return f"it is too long (question {len(question)}, answer {len(answer)} characters)"
    if len(answer) < _SHORTEST_ANSWER or any(evasion in answer.casefold() for evasion in evasions):
        return "its answer answers nothing"
    known = set(numbers_in(source_of(original))) | set(numbers_in(question))
    foreign = [number for number in numbers_in(answer) if number not in known]
    if answer != original.answer and foreign:
        return f"its answer states {', '.join(foreign)}, which its source does not"
    if answer == original.answer and numbers_in(question) != numbers_in(original.question):
        return "its question states other numbers than the one it was made from"
    return None
