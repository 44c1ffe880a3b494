"""Whatever a model server sends, a client of the gateway gets a whole answer or an error that says what happened."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csqa_loop.answering.model.vllm import VllmServer
from csqa_loop.events import AnswerGiven, ArmExposed
from csqa_loop.gateway.app import create_app
from tests.fakes.gateway import World
from tests.fakes.odd_model_server import DONE, USAGE, WELL, OddServer, frame, listening, token
from tests.gateway_client import QUESTION

WHOLE = json.dumps({"choices": [{"message": {"content": "You have 14 days"}, "finish_reason": "stop"}], "usage": None}).encode()
BOUNDS = {"timeout_seconds": 2.0, "first_token_seconds": 0.7, "between_tokens_seconds": 0.5, "max_answer_bytes": 20_000}
LONGEST_SECONDS = 8.0


@asynccontextmanager
async def gateway(server: OddServer, var: Path, **bounds: Any) -> AsyncIterator[tuple[httpx.AsyncClient, World]]:
    async with listening(server) as url:
        world = World(var, model_server={"urls": (url,), **(BOUNDS | bounds)}).with_shop()
        model = VllmServer([url], world.settings.model_server, adapters=var)
        world.parts.model = model
        app = create_app(world.parts)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            assert world.parts._starting is not None
            await asyncio.wait_for(asyncio.shield(world.parts._starting), 5)
            yield client, world


async def told(client: httpx.AsyncClient, world: World, *, stream: bool) -> tuple[str, str]:
    """(answer, error) after checking that the reply is well-formed and the record agrees."""
    before = len(world.bus.of_type(ArmExposed)), len(world.bus.of_type(AnswerGiven))
    began = time.monotonic()
    response = await client.post("/v1/chat/completions", json=QUESTION | {"stream": stream})
    assert time.monotonic() - began < LONGEST_SECONDS
    text, error = _streamed(response) if stream and response.status_code == 200 else _plain(response)
    exposures, answers = world.bus.of_type(ArmExposed)[before[0] :], world.bus.of_type(AnswerGiven)[before[1] :]
    assert len(exposures) == 1
    assert [fact.answer for fact in answers] == ([] if error else [text])
    return text, error


def _plain(response: httpx.Response) -> tuple[str, str]:
    body = response.json()
    if response.status_code == 200:
        assert body["choices"][0]["finish_reason"] in {"stop", "length", "content_filter"}
        return body["choices"][0]["message"]["content"], ""
    assert response.status_code in {400, 503}, response.text
    return "", body["error"]["message"]


def _streamed(response: httpx.Response) -> tuple[str, str]:
    assert response.text.endswith("\n\n")
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    *events, last = [block.removeprefix("data: ") for block in blocks]
    bodies = [json.loads(event) for event in events]
    text = "".join(body["choices"][0]["delta"].get("content", "") for body in bodies if body.get("choices"))
    if last != "[DONE]":
        return text, json.loads(last)["error"]["message"]
    assert bodies[-1]["choices"][0]["finish_reason"] in {"stop", "length", "content_filter"}
    return text, ""


CRLF = [b"".join(WELL).replace(b"\n", b"\r\n")]
SPLIT = [bytes([byte]) for byte in token("退货 14 天", "stop") + DONE]
STREAMS: list[tuple[str, list[bytes], str]] = [
    ("no blank after the colon", [piece.replace(b"data: ", b"data:") for piece in WELL], ""),
    ("CRLF", CRLF, ""),
    ("comments", [b": ping\n\n", *WELL[:1], b":\n", *WELL[1:]], ""),
    (
        "an event of several lines",
        [b'data: {"choices": [{"delta":\ndata: {"content": "a"},\ndata: "finish_reason": "stop"}]}\n\n', DONE],
        "",
    ),
    ("characters cut in the middle", SPLIT, ""),
    ("chunks without choices", [b'data: {"id": "x"}\n\n', frame(), *WELL], ""),
    ("no delta, null delta, null content", [frame({"index": 0}), frame({"delta": None}), token(None), *WELL], ""),
    ("text after the end", [*WELL, token("more"), b"garbage\n\n"], ""),
    ("no [DONE]", [*WELL[:2]], ""),
    ("usage null", [*WELL[:2], frame(usage=None), DONE], ""),
    ("content in parts", [token([{"type": "text", "text": "You have 14 days"}], "stop"), DONE], ""),
    ("no finish_reason", [WELL[0], DONE], "in the middle"),
    ("an error object", [WELL[0], b'data: {"error": {"message": "the engine died"}}\n\n', DONE], "the engine died"),
    ("an error at first", [b'data: {"error": {"message": "the engine died"}}\n\n', DONE], "the engine died"),
    ("a page of a proxy", [b"<html><body>Bad gateway</body></html>"], "no event stream.*Bad gateway"),
    ("nothing", [], "no event stream"),
    ("infinite numbers", [b'data: {"choices": [], "x": Infinity}\n\n'], "no JSON"),
    ("no UTF-8", [b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n'], "no JSON"),
    ("a list", [b"data: []\n\n"], "no JSON object"),
    ("a tool", [frame({"delta": {"tool_calls": [{"id": "x"}]}, "finish_reason": "tool_calls"}), DONE], "called a tool"),
    ("given up", [WELL[0], token("", "abort"), DONE], "gave its answer up"),
    ("a long answer", [token("long " * 2000)] * 3, "more than 20000 bytes"),
    ("a line without an end", [b"x" * 100_000] * 50, "more than"),
]


@pytest.mark.parametrize(("sent", "error"), [case[1:] for case in STREAMS], ids=[case[0] for case in STREAMS])
async def test_streams(tmp_path: Path, sent: list[bytes], error: str) -> None:
    async with gateway(OddServer(sent), tmp_path) as (client, world):
        text, said = await told(client, world, stream=True)
        assert bool(error) == bool(said), said
        if error:
            with pytest.raises(AssertionError, match=error):
                raise AssertionError(said)
        else:
            assert text in {"You have 14 days", "退货 14 天", "a"}


@pytest.mark.parametrize(
    ("sent", "status", "error"),
    [
        ([WHOLE], 200, ""),
        ([b""], 200, "no JSON"),
        ([b"<html>It works!</html>"], 200, "It works"),
        ([b'{"error": {"message": "the engine died"}}'], 200, "the engine died"),
        ([b'{"choices": []}'], 200, "without a message"),
        ([b'{"choices": [{"message": {"content": null, "tool_calls": [{}]}}]}'], 200, "called a tool"),
        ([b'{"choices": [{"message": {"content": "a"}, "finish_reason": "abort"}]}'], 200, "gave its answer up"),
        ([b'{"choices": [{"message": {"content": "%s"}}]}' % (b"x" * 30_000)], 200, "more than 20000 bytes"),
        ([b" " * 500_000] * 10, 200, "more than"),
        ([b"<html>Bad gateway</html>"], 502, "answers 502.*Bad gateway"),
    ],
)
async def test_whole_replies(tmp_path: Path, sent: list[bytes], status: int, error: str) -> None:
    async with gateway(OddServer(sent, status=status, chunked=False), tmp_path) as (client, world):
        text, said = await told(client, world, stream=False)
        if not error:
            assert text == "You have 14 days"
        else:
            with pytest.raises(AssertionError, match=error):
                raise AssertionError(said)


@pytest.mark.parametrize(
    ("sent", "pause", "error"),
    [
        ([], 0.0, "no token within 0.7 s"),
        ([b": ping\n\n"] * 100, 0.05, "no token within 0.7 s"),
        ([WELL[0]], 0.0, "no further token within 0.5 s"),
        ([WELL[0], *([b": ping\n\n"] * 100)], 0.05, "no further token within 0.5 s"),
        ([token("a ")] * 100, 0.1, "did not end its answer within 2 s"),
    ],
)
async def test_every_wait_is_bounded(tmp_path: Path, sent: list[bytes], pause: float, error: str) -> None:
    server = OddServer(sent, end="hang")
    server.pause = pause
    async with gateway(server, tmp_path) as (client, world):
        assert error in (await told(client, world, stream=True))[1]
        await asyncio.wait_for(server.left.wait(), 5)


async def test_a_finished_answer_waits_for_no_count(tmp_path: Path) -> None:
    async with gateway(OddServer(WELL[:2], end="hang"), tmp_path) as (client, world):
        assert await told(client, world, stream=True) == ("You have 14 days", "")


FRAMES = st.lists(
    st.sampled_from([*WELL, DONE, USAGE, b": ping\n\n", frame(), token("a"), token("", "length"), b'data: {"error": {"message": "x"}}\n\n'])
    | st.binary(max_size=20),
    max_size=6,
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(
    frames=FRAMES,
    flips=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    end=st.sampled_from(["close", "reset", "whole", "whole", "hang"]),
    shape=st.sampled_from(["chunked", "chunked", "length", "raw"]),
    stream=st.booleans(),
)
def test_any_server_at_all(frames: list[bytes], flips: Any, cuts: list[int], end: Any, shape: str, stream: bool) -> None:
    sent = bytearray(b"".join(frames) if stream else WHOLE)
    for place, value in flips:
        if place < len(sent):
            sent[place] = value
    places = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    server_sends = [bytes(sent[a:b]) for a, b in itertools.pairwise(places)]

    async def run() -> None:
        server = OddServer(server_sends, end=end, chunked=shape == "chunked")
        server.raw = shape == "raw"
        with TemporaryDirectory() as var:
            async with gateway(server, Path(var), timeout_seconds=0.4, first_token_seconds=0.2, between_tokens_seconds=0.1) as (
                client,
                world,
            ):
                await told(client, world, stream=stream)

    asyncio.run(run())
