"""A judge in memory. Passes the same contract suite as `EndpointJudge` before a real endpoint."""

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import ChatMessage

Mode = Literal["well", "down", "slow", "busy", "broken", "refuses", "nonsense", "silent"]
Reply = Callable[[Sequence[ChatMessage]], str]
_WHERE = "the judge at http://fake-judge"


def echo(messages: Sequence[ChatMessage]) -> str:
    return messages[-1].content


def by_merit(merit: Callable[[str], float], writes: str = "") -> Reply:
    """Prefers the answer with more merit, and writes `writes` when it is asked to write."""

    def reply(messages: Sequence[ChatMessage]) -> str:
        answers = re.split(r"## (?:Answer|回答) [AB]\n", messages[-1].content)[1:]
        if not answers:
            return json.dumps({"answer": writes}, ensure_ascii=False)
        a, b = (merit(answer.strip()) for answer in answers)
        return json.dumps({"winner": "tie" if a == b else "A" if a > b else "B", "reason": "merit"})

    return reply


@dataclass
class FakeJudge:
    """`mode` says how it behaves; `gate` holds every reply back until set."""

    reply: Reply = echo
    mode: Mode = "well"
    model: str = "fake-judge"
    gate: asyncio.Event | None = None
    asked: list[tuple[ChatMessage, ...]] = field(default_factory=list)
    in_hand: int = 0
    most_in_hand: int = 0

    async def complete(self, messages: Sequence[ChatMessage], *, max_tokens: int, temperature: float) -> str:
        self.asked.append(tuple(messages))
        self.in_hand += 1
        self.most_in_hand = max(self.most_in_hand, self.in_hand)
        try:
            if self.gate:
                await self.gate.wait()
            return self._said(messages)
        finally:
            self.in_hand -= 1

    def _said(self, messages: Sequence[ChatMessage]) -> str:
        match self.mode:
            case "down" | "slow":
                raise TransientError(f"{_WHERE} does not answer")
            case "busy" | "broken":
                raise TransientError(f"{_WHERE} answered {429 if self.mode == 'busy' else 500}")
            case "refuses":
                raise PermanentError(f"{_WHERE} refused the request with 401")
            case "nonsense":
                raise PermanentError(f"{_WHERE} gave no OpenAI completion")
            case "silent":
                return ""
        return self.reply(messages)
