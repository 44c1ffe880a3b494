"""The official `openai` client, and readers who leave, against a real server on fakes."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from csqa_loop.events import AnswerGiven
from tests.fakes.gateway import World
from tests.unit.gateway.live import Live, serving

ASK: list[Any] = [{"role": "user", "content": "How many days to return electronics?"}]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).with_shop()


@pytest.fixture
def live(world: World) -> Iterator[Live]:
    with serving(world) as live:
        yield live


@pytest.fixture
def client(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="any", max_retries=0, timeout=10) as client:
        yield client


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def test_openai_asks(client: openai.OpenAI, world: World) -> None:
    answer = client.chat.completions.create(model="csqa", messages=ASK, user="jane", extra_body={"conversation_id": "talk-1"})
    assert answer.choices[0].message.content == "base says: How many days to return electronics?"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    extra: Any = answer.model_extra
    assert extra["csqa"]["conversation_id"] == "talk-1"
    assert [model.id for model in client.models.list()] == ["csqa"]


def test_openai_streams(client: openai.OpenAI, world: World) -> None:
    chunks = list(client.chat.completions.create(model="csqa", messages=ASK, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    fact = world.bus.of_type(AnswerGiven)[0]
    assert text == fact.answer
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8
    extra: Any = chunks[-1].model_extra
    assert extra["csqa"]["event_id"] == str(fact.event_id)


async def test_openai_asks_many_at_once(live: Live, world: World) -> None:
    async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="any", max_retries=0, timeout=20) as client:
        answers = await asyncio.gather(
            *(client.chat.completions.create(model="csqa", messages=ASK, user=f"user-{number}") for number in range(50))
        )
    assert len({answer.id for answer in answers}) == 50
    assert len(world.bus.of_type(AnswerGiven)) == 50


def test_openai_understands_our_errors(client: openai.OpenAI, world: World) -> None:
    with pytest.raises(openai.NotFoundError, match="the one model here is 'csqa'"):
        client.chat.completions.create(model="gpt-4", messages=ASK)
    with pytest.raises(openai.BadRequestError, match="'n' is not supported") as bad:
        client.chat.completions.create(model="csqa", messages=ASK, n=2)
    assert bad.value.param == "n"
    with pytest.raises(openai.UnprocessableEntityError):
        client.chat.completions.create(model="csqa", messages=ASK, temperature=9)
    world.model.break_after = 3
    with pytest.raises(openai.APIError, match="broke off"):
        list(client.chat.completions.create(model="csqa", messages=ASK, stream=True))
    world.model.down = True
    with pytest.raises(openai.InternalServerError, match="down"):
        client.chat.completions.create(model="csqa", messages=ASK)
    assert world.bus.of_type(AnswerGiven) == []


def test_a_reader_who_hangs_up_leaves_a_record(live: Live, world: World) -> None:
    world.model.gate = asyncio.Event()  # the first word comes, the next ones wait
    body = json.dumps({"model": "csqa", "messages": ASK, "stream": True}).encode()
    host, port = live.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        received = b""
        while b'"content":"base "' not in received:
            piece = connection.recv(65536)
            assert piece, received
            received += piece
    time.sleep(0.1)  # the server has no way to tell us that it noticed
    live.loop.call_soon_threadsafe(world.model.gate.set)
    eventually(lambda: len(world.bus.of_type(AnswerGiven)) == 1)
    fact = world.bus.of_type(AnswerGiven)[0]
    assert "base says: How many days".startswith(fact.answer)
    assert fact.answer.startswith("base ")
    eventually(lambda: world.model.streams_closed == 1)


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(live: Live, world: World) -> None:
    host, port = live.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n{")
        assert b" 413 " in connection.recv(65536).split(b"\r\n")[0]
