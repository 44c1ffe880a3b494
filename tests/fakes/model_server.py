"""A model server in memory. Passes the same contract suite as `VllmServer` on a real vLLM."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from csqa_loop.answering.model.server import Delta, Generation
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import BASE, ChatMessage, Sampling

Answer = Callable[[str, Sequence[ChatMessage]], str]
"""Adapter and messages to what is said. Words are tokens."""


def echo(adapter: str, messages: Sequence[ChatMessage]) -> str:
    """Says which adapter speaks, and the last message."""
    return f"{adapter} says: {messages[-1].content}"


@dataclass
class FakeModelServer:
    """`down` refuses everything; `break_after` ends a stream with an error after so many pieces; `gate` holds every piece back until set."""

    replicas: Iterable[str] = ("http://fake-vllm",)
    answer: Answer = echo
    known: set[str] | None = None
    """Adapters that can be loaded. None: every name but those that are absent on purpose (`a-` + 16 f)."""
    max_words: int = 1000
    down: bool = False
    break_after: int | None = None
    gate: asyncio.Event | None = None
    asked: list[tuple[str, tuple[ChatMessage, ...], Sampling]] = field(default_factory=list)
    log: list[tuple[str, str, str]] = field(default_factory=list)
    """(`load` or `unload`, replica, adapter), in order."""

    def __post_init__(self) -> None:
        self.held: dict[str, set[str]] = {url: {BASE} for url in self.replicas}
        self.streams_closed = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    @property
    def answering(self) -> bool:
        return not self.down

    async def generate(
        self, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling, *, fallback: str, stop: Sequence[str] = ()
    ) -> Generation:
        name, words, reason = self._words(adapter, messages, sampling, fallback, stop)
        if self.gate:
            await self.gate.wait()
        return self._generation(name, messages, words, reason)

    async def stream(
        self, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling, *, fallback: str, stop: Sequence[str] = ()
    ) -> AsyncIterator[Delta]:
        name, words, reason = self._words(adapter, messages, sampling, fallback, stop)
        try:
            for place, word in enumerate(words):
                if self.break_after is not None and place >= self.break_after:
                    msg = "the fake model server broke off"
                    raise TransientError(msg)
                if self.gate and place:
                    await self.gate.wait()
                yield Delta(word)
            yield Delta("", self._generation(name, messages, words, reason))
        finally:
            self.streams_closed += 1

    async def score(self, adapter: str, messages: Sequence[ChatMessage], answer: str) -> tuple[float, int]:
        self._check_up()
        if not any(adapter in held for held in self.held.values()):
            msg = f"no replica holds {adapter}"
            raise TransientError(msg)
        said, words = set(self.answer(adapter, messages).split()), answer.split()
        return sum(math.log(0.9 if word in said else 0.1) for word in words), len(words)

    async def probe(self, replica: str, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling) -> Generation:
        self._check_up()
        if adapter not in self._named(replica):
            msg = f"{replica} does not hold {adapter}"
            raise PermanentError(msg)
        return self._generation(adapter, messages, *self._said(adapter, messages, sampling, ()))

    @property
    def live(self) -> tuple[str, ...]:
        return () if self.down else tuple(self.held)

    async def serves(self, replica: str) -> frozenset[str] | None:
        return None if self.down else frozenset(self._named(replica))

    async def resident(self) -> dict[str, frozenset[str]]:
        return {} if self.down else {url: frozenset(held) for url, held in self.held.items()}

    async def load(self, replica: str, adapter: str) -> None:
        self._check_up()
        if (self.known is None and adapter == "a-" + "f" * 16) or (self.known is not None and adapter not in self.known | {BASE}):
            msg = f"no adapter found: {adapter}"
            raise PermanentError(msg)
        self._named(replica).add(adapter)
        self.log.append(("load", replica, adapter))

    async def unload(self, replica: str, adapter: str) -> None:
        self._check_up()
        if adapter != BASE:
            self._named(replica).discard(adapter)
            self.log.append(("unload", replica, adapter))

    def _named(self, replica: str) -> set[str]:
        if replica not in self.held:
            msg = f"{replica} is not one of the model servers"
            raise PermanentError(msg)
        return self.held[replica]

    def _check_up(self) -> None:
        if self.down:
            msg = "the fake model server is down"
            raise TransientError(msg)

    def _words(
        self, adapter: str, messages: Sequence[ChatMessage], sampling: Sampling, fallback: str, stop: Sequence[str]
    ) -> tuple[str, list[str], str]:
        self._check_up()
        if sum(len(message.content.split()) for message in messages) > self.max_words:
            msg = "the prompt is too long"
            raise PermanentError(msg)
        turns = [message.role for message in messages if message.role != "system"]
        if turns != [("user", "assistant")[place % 2] for place in range(len(turns))]:
            msg = "conversation roles must alternate user/assistant/user/assistant/..."  # as the templates of many models say it
            raise PermanentError(msg)
        name = next(name for name in (adapter, fallback, BASE) if any(name in held for held in self.held.values()))
        self.asked.append((name, tuple(messages), sampling))
        return name, *self._said(name, messages, sampling, stop)

    def _said(self, name: str, messages: Sequence[ChatMessage], sampling: Sampling, stop: Sequence[str]) -> tuple[list[str], str]:
        text = self.answer(name, messages)
        for mark in stop:
            text = text.split(mark)[0]
        words = [word + " " for word in text.split(" ")]
        words[-1] = words[-1][:-1]
        reason = "length" if len(words) > sampling.max_tokens else "stop"
        return [word for word in words[: sampling.max_tokens] if word], reason

    @staticmethod
    def _generation(name: str, messages: Sequence[ChatMessage], words: list[str], reason: str) -> Generation:
        prompt = sum(len(message.content.split()) for message in messages)
        return Generation("".join(words), name, prompt, max(len(words), 1), reason, (math.log(0.8),) * max(len(words), 1))
