"""Customers who chat without pause through a gateway, and what became of every request."""

import json
import random
import threading
import time
from dataclasses import dataclass
from typing import Self

import httpx
from _service import SHOP, until

from csqa_loop.demo.scenario_files import load_scenario

_MAX_TOKENS = 12
_REQUEST_SECONDS = 90.0
"""Longer than the gateway waits for a model server: what fails is told by the gateway."""


@dataclass(frozen=True)
class Chat:
    """One request. Moments are monotonic seconds."""

    customer: int
    began: float
    ended: float
    adapter: str
    """That answered; empty where none did."""
    failure: str
    """Status and reason; empty where a model answered to the end."""


class Customers:
    """Each is a thread with a connection of its own and asks again as soon as it is answered; every other answer is streamed."""

    def __init__(self, gateways: tuple[str, ...], number: int, seed: int) -> None:
        asks = [text for question in load_scenario(SHOP).trainable for text in question.ask]
        self._chats: list[list[Chat]] = [[] for _ in range(number)]
        self._over = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._chat, args=(one, gateways[one % len(gateways)], asks, random.Random(f"{seed} {one}")), name=f"customer {one}"
            )
            for one in range(number)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(_REQUEST_SECONDS + 10)

    @property
    def chats(self) -> list[Chat]:
        """Everything that has ended, in the order of its beginning."""
        return sorted((chat for own in self._chats for chat in list(own)), key=lambda chat: chat.began)

    def wait_for(self, adapter: str, *, since: float) -> None:
        """Until every customer has had an answer of `adapter` that began after `since`.

        Raises:
            TimeoutError: somebody had none in time.
        """

        def all_answered() -> bool:
            return all(any(chat.began >= since and chat.adapter == adapter for chat in reversed(own)) for own in self._chats)

        until(all_answered, f"an answer of {adapter} to every customer", seconds=2 * _REQUEST_SECONDS)

    def _chat(self, customer: int, gateway: str, asks: list[str], chance: random.Random) -> None:
        with httpx.Client(base_url=gateway, timeout=_REQUEST_SECONDS, trust_env=False) as client:
            while not self._over.is_set():
                streamed = (customer + len(self._chats[customer])) % 2 == 0
                body = {
                    "model": "csqa", "messages": [{"role": "user", "content": chance.choice(asks)}], "max_tokens": _MAX_TOKENS,
                    "stream": streamed, "user": f"customer-{customer}",
                }  # fmt: skip
                began = time.monotonic()
                adapter, failure = _asked(client, body)
                self._chats[customer].append(Chat(customer, began, time.monotonic(), adapter, failure))
                if failure:
                    self._over.wait(0.2)  # a gateway that refuses at once must not be asked a thousand times


def _asked(client: httpx.Client, body: dict[str, object]) -> tuple[str, str]:
    """(adapter, failure)."""
    try:
        answer = client.post("/v1/chat/completions", json=body)
    except httpx.HTTPError as error:
        return "", f"no whole answer: {error!r}"
    if answer.status_code != 200:
        return "", f"{answer.status_code}: {answer.text[:300]}"
    if body["stream"]:
        lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
        if lines[-1:] != ["[DONE]"]:
            return "", f"200 and a broken stream: {lines[-1:]}"
        told = json.loads(lines[-2])
    else:
        told = answer.json()
    if told["csqa"]["source"] != "model":
        return "", f"200 without a model: {told['csqa']['source']}"
    return told["csqa"]["adapter"], ""
