"""Simulated customers and agents, over HTTP."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import httpx

from csqa_loop.demo.scenario import Scenario, ScenarioQuestion
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.evidence.rules.grading import Probe, judge
from csqa_loop.http.bearer import bearer
from csqa_loop.retry import growing, retried

AT_ONCE = 8
_RETRIED = {429, 500, 502, 503, 504}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 3.0
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass
class CustomerTally:
    """What the gateway accepted."""

    chats: int = 0
    feedback: int = 0
    bad_cases: int = 0
    accepted: list[str] = field(default_factory=list)
    """Event ids: of exposures, answers, thumbs and bad cases."""


@dataclass(frozen=True)
class Visit:
    """A customer with a question, in one of its phrasings."""

    user: str
    question: Probe
    text: str


@dataclass(frozen=True)
class ReceivedAnswer:
    """The answer that a customer received."""

    text: str
    right: bool
    message_id: str
    token: str
    arm: str
    adapter: str
    experiment: str | None


class Customers:
    """Asks, rates and reports through one gateway. Lost connections and 5xx are tried again until `patience` seconds have passed."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        scenario: Scenario,
        *,
        operator_key: str = "",
        patience: float = 120.0,
        max_tokens: int | None = None,
    ) -> None:
        self.tally = CustomerTally()
        self._client = client
        self._scenario = scenario
        self._operator_key = operator_key
        self._patience = patience
        self._max_tokens = max_tokens

    async def ask(self, visit: Visit, *, temperature: float | None = None) -> ReceivedAnswer:
        """One question; without `temperature`, the gateway's own.

        Raises:
            TransientError: the gateway did not answer in time.
            PermanentError: it refused the question.
        """
        body: dict[str, Any] = {"model": "csqa", "messages": [{"role": "user", "content": visit.text}], "user": visit.user}
        if temperature is not None:
            body["temperature"] = temperature
        if self._max_tokens is not None:
            body["max_tokens"] = self._max_tokens
        completion = await self._post("/v1/chat/completions", body, 200)
        text, extra = str(completion["choices"][0]["message"]["content"] or ""), completion["csqa"]
        self.tally.chats += 1
        self.tally.accepted += [str(extra["exposure_event_id"]), str(extra["event_id"])]
        return ReceivedAnswer(
            text=text,
            right=judge(text, visit.question, self._scenario.language),
            message_id=extra["message_id"],
            token=extra["feedback_token"],
            arm=extra["arm"],
            adapter=extra["adapter"],
            experiment=extra["experiment"],
        )

    async def rate(self, answer: ReceivedAnswer) -> None:
        """Thumbs up for a right answer, down for a wrong one."""
        thumb: Literal["up", "down"] = "up" if answer.right else "down"
        accepted = await self._post("/v1/feedback", {"message_id": answer.message_id, "token": answer.token, "thumb": thumb}, 202)
        self.tally.feedback += 1
        self.tally.accepted.append(str(accepted["event_id"]))

    async def report(self, answer: ReceivedAnswer, correction: str, reviewer: str) -> None:
        """A bad case, with what an agent would have said."""
        body = {"message_id": answer.message_id, "reason": "wrong", "corrected_answer": correction, "reviewer": reviewer}
        accepted = await self._post("/v1/bad-cases", body, 202, bearer(self._operator_key))
        self.tally.bad_cases += 1
        self.tally.accepted.append(str(accepted["event_id"]))

    async def _post(self, path: str, body: dict[str, Any], expected: int, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """The JSON of an accepted request. A request that failed without an answer may have been accepted: the next try is another event."""
        late = f"POST {path} at {self._client.base_url} got no acceptance within {self._patience:.0f} s; last: "

        async def post() -> dict[str, Any]:
            try:
                response = await self._client.post(path, json=body, headers=headers)
            except httpx.TransportError as error:
                raise TransientError(f"{late}no answer ({type(error).__name__}: {error})") from error
            if response.status_code == expected:
                accepted: dict[str, Any] = response.json()
                return accepted
            trouble = f"status {response.status_code}: {_detail(response)}"
            if response.status_code in _RETRIED:
                raise TransientError(f"{late}{trouble}")
            raise PermanentError(f"the gateway refused POST {path} with {trouble}")

        return await retried(post, growing(_FIRST_PAUSE, _LONGEST_PAUSE), within=self._patience)


def visits(questions: Sequence[ScenarioQuestion], *, prefix: str, seed: int) -> Iterator[Visit]:
    """Endless: every question once in shuffled order, then again in its next phrasing. A new user each time."""
    order, shuffler = list(questions), random.Random(f"{prefix}/{seed}")
    turn = number = 0
    while True:
        shuffler.shuffle(order)
        for question in order:
            yield Visit(user=f"{prefix}-{seed}-{number}", question=question, text=question.ask[turn % len(question.ask)])
            number += 1
        turn += 1


async def each(items: Iterable[_Item], act: Callable[[_Item], Awaitable[_Result]], *, at_once: int = AT_ONCE) -> list[_Result]:
    """`act` on every item, a few at once, results in order. The first error ends the rest."""
    gate = asyncio.Semaphore(at_once)

    async def limited(item: _Item) -> _Result:
        async with gate:
            return await act(item)

    tasks = [asyncio.create_task(limited(item)) for item in items]  # type: ignore[var-annotated]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _detail(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return response.text[:200]
    return str(body.get("detail", body))[:200] if isinstance(body, dict) else str(body)[:200]
