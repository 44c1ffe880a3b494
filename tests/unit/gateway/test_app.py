"""The gateway over HTTP, in process, on fakes."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from csqa_loop.events import AnswerGiven, ArmExposed, BadCaseReported, FeedbackGiven
from csqa_loop.gateway.app import create_app
from csqa_loop.text.identity import new_message_id, sign_feedback
from tests.fakes.gateway import SECRETS, World
from tests.gateway_client import QUESTION, asked, refused

OPERATOR = {"Authorization": f"Bearer {SECRETS.operator_key}"}


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path, answer={"max_body_bytes": 20_000}).with_shop()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(world.parts)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://gateway") as client,
    ):
        assert world.parts._starting is not None
        await asyncio.wait_for(asyncio.shield(world.parts._starting), 5)
        yield client


async def test_an_answer_has_openais_form_and_the_extra_fields(client: httpx.AsyncClient, world: World) -> None:
    body = await asked(client, conversation_id="talk-1")
    assert body["object"] == "chat.completion"
    assert body["model"] == "csqa"
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    exposure, fact = world.bus.events
    assert isinstance(exposure, ArmExposed)
    assert isinstance(fact, AnswerGiven)
    extra = body["csqa"]
    assert body["choices"][0]["message"]["content"] == fact.answer
    assert extra.pop("feedback_token")
    assert extra.pop("citations")[0]["policy_id"] == "returns"
    assert extra == {
        "message_id": fact.message_id,
        "conversation_id": "talk-1",
        "event_id": str(fact.event_id),
        "exposure_event_id": str(exposure.event_id),
        "experiment": None,
        "arm": "champion",
        "adapter": "base",
        "index_version": fact.index_version,
        "source": "model",
        "confidence": fact.confidence,
        "covered": True,
        "handoff": False,
    }


async def test_a_stream_has_openais_form(client: httpx.AsyncClient, world: World) -> None:
    response = await client.post("/v1/chat/completions", json=QUESTION | {"stream": True, "stream_options": {"include_usage": True}})
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[0]["csqa"]["arm"] == "champion"
    fact = world.bus.events[-1]
    assert isinstance(fact, AnswerGiven)
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1]) == fact.answer
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == fact.tokens.completion
    for chunk in chunks[-2:]:
        assert chunk["csqa"]["event_id"] == str(fact.event_id)
        assert chunk["csqa"]["feedback_token"]


async def test_content_may_come_in_parts_and_a_conversation_is_made(client: httpx.AsyncClient, world: World) -> None:
    parts = [{"type": "text", "text": "How many days"}, {"type": "text", "text": "to return electronics?"}]
    body = await asked(client, messages=[{"role": "user", "content": parts}])
    fact = world.bus.events[-1]
    assert isinstance(fact, AnswerGiven)
    assert fact.question == "How many days\nto return electronics?"
    assert body["csqa"]["conversation_id"].startswith("c-")
    assert (await asked(client))["csqa"]["conversation_id"] != body["csqa"]["conversation_id"]


async def test_sampling_is_the_clients_where_given(client: httpx.AsyncClient, world: World) -> None:
    await asked(client, temperature=0, top_p=0.5, max_completion_tokens=7, seed=3, stop=["X"])
    await asked(client)
    first, second = (sampling for _, _, sampling in world.model.asked)
    assert (first.temperature, first.top_p, first.max_tokens, first.seed) == (0.0, 0.5, 7, 3)
    assert (second.temperature, second.max_tokens, second.seed) == (
        world.settings.answer.temperature,
        world.settings.answer.max_tokens,
        None,
    )


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "gpt-4"}, 404, "model"),
        ({"n": 2}, 400, "n"),
        ({"tools": [{"type": "function"}]}, 400, "tools"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format"),
        ({"logprobs": True}, 400, "logprobs"),
        ({"conversationId": "x"}, 400, "conversationId"),
        ({"messages": []}, 422, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, 422, "messages"),
        ({"messages": [{"role": "assistant", "content": "hello"}]}, 422, "messages"),
        ({"messages": [{"role": "robot", "content": "hello"}]}, 422, "messages.0.role"),
        ({"temperature": 3}, 422, "temperature"),
        ({"max_tokens": 0}, 422, "max_tokens"),
        ({"max_tokens": 2000}, 422, "max_tokens"),
        ({"conversation_id": "x" * 151}, 422, "conversation_id"),
        ({"conversation_id": "a\nb"}, 422, "conversation_id"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(
    client: httpx.AsyncClient, world: World, change: dict[str, Any], status: int, param: str
) -> None:
    problem = refused(await client.post("/v1/chat/completions", json=QUESTION | change), status)
    assert problem["error"]["param"] == param
    assert world.bus.records == []


async def test_defaults_that_ask_for_nothing_are_taken(client: httpx.AsyncClient) -> None:
    await asked(client, n=1, tools=None, presence_penalty=0, response_format={"type": "text"}, metadata={"a": "b"})


@pytest.mark.parametrize(
    ("content", "status"), [(b"{", 400), (b"[]", 400), (b"\xff", 400), (b"{}", 422), (b'{"a":"' + b"x" * 30_000 + b'"}', 413)]
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/feedback", "/v1/bad-cases"])
async def test_bad_bodies(client: httpx.AsyncClient, path: str, content: bytes, status: int) -> None:
    refused(await client.post(path, content=content, headers=OPERATOR), status)


async def test_a_body_without_a_length_is_limited_while_it_is_read(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 1000
            yield b"x" * 1000

    refused(await client.post("/v1/chat/completions", content=endless()), 413)


async def test_models_lists_one(client: httpx.AsyncClient) -> None:
    assert [model["id"] for model in (await client.get("/v1/models")).json()["data"]] == ["csqa"]
    assert (await client.get("/v1/models/csqa")).json()["id"] == "csqa"
    refused(await client.get("/v1/models/base"), 404)


async def test_feedback_is_on_record(client: httpx.AsyncClient, world: World) -> None:
    extra = (await asked(client, conversation_id="talk-1"))["csqa"]
    body = {"message_id": extra["message_id"], "token": extra["feedback_token"], "thumb": "down", "comment": "mail me: a.b@example.com"}
    response = await client.post("/v1/feedback", json=body)
    assert response.status_code == 202
    fact = world.bus.events[-1]
    assert isinstance(fact, FeedbackGiven)
    answer = world.bus.of_type(AnswerGiven)[0]
    assert str(fact.event_id) == response.json()["event_id"]
    assert (fact.message_id, fact.conversation_id, fact.user) == (answer.message_id, "talk-1", answer.user)
    assert fact.comment == "mail me: [email]"


async def test_feedback_needs_a_known_message_and_its_own_token(client: httpx.AsyncClient, world: World) -> None:
    first, second = [(await asked(client))["csqa"] for _ in range(2)]
    count = len(world.bus.records)
    body = {"message_id": first["message_id"], "token": first["feedback_token"], "thumb": "up"}
    refused(await client.post("/v1/feedback", json=body | {"message_id": "nobody.0123456789abcdef0123"}), 404)
    refused(await client.post("/v1/feedback", json=body | {"token": second["feedback_token"]}), 403)
    refused(await client.post("/v1/feedback", json=body | {"token": "x"}), 403)
    expired = sign_feedback(SECRETS.secret, first["message_id"], "u-1", "champion", 1)
    refused(await client.post("/v1/feedback", json=body | {"token": expired}), 403)
    refused(await client.post("/v1/feedback", json=body | {"thumb": "sideways"}), 422)
    refused(await client.post("/v1/feedback", json=body | {"extra": 1}), 422)
    assert len(world.bus.records) == count


async def test_bad_cases_need_the_key_and_a_known_message(client: httpx.AsyncClient, world: World) -> None:
    message = (await asked(client))["csqa"]["message_id"]
    body = {"message_id": message, "reason": "wrong", "corrected_answer": "You have 14 days.", "reviewer": "alex"}
    assert refused(await client.post("/v1/bad-cases", json=body), 401)
    refused(await client.post("/v1/bad-cases", json=body, headers={"Authorization": "Bearer wrong"}), 401)
    refused(await client.post("/v1/bad-cases", json=body, headers={"Authorization": SECRETS.operator_key}), 401)
    other = new_message_id(b"another installation", "talk-1")
    refused(await client.post("/v1/bad-cases", json=body | {"message_id": other}, headers=OPERATOR), 404)
    refused(await client.post("/v1/bad-cases", json=body | {"reason": "boring"}, headers=OPERATOR), 422)
    assert world.bus.of_type(BadCaseReported) == []
    response = await client.post("/v1/bad-cases", json=body, headers=OPERATOR)
    assert response.status_code == 202
    fact = world.bus.of_type(BadCaseReported)[0]
    assert str(fact.event_id) == response.json()["event_id"]
    assert (fact.message_id, fact.reason, fact.corrected_answer, fact.reviewer) == (message, "wrong", "You have 14 days.", "alex")


async def test_knowledge_can_be_searched_by_operators(client: httpx.AsyncClient, world: World) -> None:
    refused(await client.post("/v1/knowledge/search", json={"query": "electronics"}), 401)
    found = (await client.post("/v1/knowledge/search", json={"query": "days to return electronics", "k": 1}, headers=OPERATOR)).json()
    assert [hit["policy_id"] for hit in found["hits"]] == ["returns"]
    assert found["index_version"] == world.parts.followed_index.version


async def test_a_log_that_is_down_means_503_everywhere(client: httpx.AsyncClient, world: World) -> None:
    extra = (await asked(client))["csqa"]
    world.bus.down = True
    refused(await client.post("/v1/chat/completions", json=QUESTION), 503)
    refused(await client.post("/v1/chat/completions", json=QUESTION | {"stream": True}), 503)
    body = {"message_id": extra["message_id"], "token": extra["feedback_token"], "thumb": "up"}
    refused(await client.post("/v1/feedback", json=body), 503)
    bad_case = {"message_id": extra["message_id"], "reason": "wrong", "reviewer": "alex"}
    refused(await client.post("/v1/bad-cases", json=bad_case, headers=OPERATOR), 503)


async def test_a_model_server_that_is_down_means_503(client: httpx.AsyncClient, world: World) -> None:
    world.model.down = True
    refused(await client.post("/v1/chat/completions", json=QUESTION), 503)
    refused(await client.post("/v1/chat/completions", json=QUESTION | {"stream": True}), 503)
    assert (await client.get("/ready")).json()["missing"]
    world.model.down = False
    await asked(client)


async def test_a_stream_that_breaks_ends_with_an_error_object(client: httpx.AsyncClient, world: World) -> None:
    world.model.break_after = 3
    response = await client.post("/v1/chat/completions", json=QUESTION | {"stream": True})
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert json.loads(lines[-1])["error"]["message"]
    assert "[DONE]" not in lines
    assert world.bus.of_type(AnswerGiven) == []


async def test_a_prompt_that_is_too_long_is_the_clients_fault(client: httpx.AsyncClient, world: World) -> None:
    world.model.max_words = 10
    refused(await client.post("/v1/chat/completions", json=QUESTION), 400)


async def test_unknown_paths_and_methods_are_problems_too(client: httpx.AsyncClient) -> None:
    refused(await client.get("/nothing"), 404)
    refused(await client.get("/v1/chat/completions"), 405)
    for path in ("/docs", "/openapi.json", "/redoc"):
        refused(await client.get(path), 404)


async def test_an_unforeseen_failure_tells_nothing(client: httpx.AsyncClient, world: World) -> None:
    def broken(adapter: str, messages: object) -> str:
        raise RuntimeError("the secret is 42")

    world.model.answer = broken
    assert "42" not in refused(await client.post("/v1/chat/completions", json=QUESTION), 500)["detail"]


async def test_metrics_count_without_naming_anybody(client: httpx.AsyncClient, world: World) -> None:
    await asked(client)
    await client.get("/v1/models/base")
    await client.get("/somewhere/else")
    text = (await client.get("/metrics")).text
    assert 'csqa_requests_total{route="/v1/chat/completions",status="200"} 1.0' in text
    assert 'csqa_requests_total{route="other",status="404"} 1.0' in text
    assert 'csqa_errors_total{kind="not found"} 2.0' in text
    assert f'csqa_index_info{{version="{world.parts.followed_index.version}"}} 1.0' in text
    assert "csqa_ready 1.0" in text
    assert 'csqa_tokens_total{kind="completion"} 8.0' in text
    assert "jane" not in text
    assert "somewhere" not in text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", '{"model": "csqa", "messages": [{"role": "user", "content": "%s"}]}'),
        ("/v1/chat/completions", '{"model": "csqa", "messages": [{"role": "user", "content": "q"}], "user": "%s"}'),
        ("/v1/feedback", '{"message_id": "m", "token": "t", "thumb": "up", "comment": "%s"}'),
        ("/v1/bad-cases", '{"message_id": "m", "reason": "wrong", "reviewer": "ann", "corrected_answer": "%s"}'),
        ("/v1/knowledge/search", '{"query": "%s"}'),
    ],
)
async def test_half_of_a_surrogate_pair_is_refused(client: httpx.AsyncClient, world: World, path: str, body: str) -> None:
    refused(await client.post(path, content=body % "\\ud800", headers=OPERATOR), 400)
    assert world.bus.events == []
