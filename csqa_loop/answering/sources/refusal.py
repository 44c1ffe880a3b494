"""Where no policy is known at all, any model's answer would be made up: a fixed sentence instead."""

from collections.abc import AsyncIterator
from typing import Literal

from csqa_loop.answering.model.server import Delta, Generation
from csqa_loop.answering.question import Prepared
from csqa_loop.answering.sources.source import words_alone
from csqa_loop.text.languages import language_of

_REFUSAL = {
    "en": "I am sorry, I cannot answer that yet. A colleague will get back to you.",
    "zh": "抱歉，我暂时无法回答这个问题，稍后会有同事与您联系。",
}


class Refusal:
    """Answers questions for which nothing was retrieved."""

    name: Literal["refusal"] = "refusal"

    def __init__(self, default_language: str) -> None:
        self._default_language = default_language

    def covers(self, prepared: Prepared) -> bool:
        """Whether nothing was retrieved."""
        return not prepared.citations

    async def answer(self, prepared: Prepared) -> Generation:
        """The sentence, in the question's language."""
        return words_alone(prepared, _REFUSAL[language_of(prepared.question, self._default_language)])

    async def stream(self, prepared: Prepared) -> AsyncIterator[Delta]:
        """As `answer`, in one piece."""
        whole = await self.answer(prepared)
        yield Delta(whole.text)
        yield Delta("", whole)
