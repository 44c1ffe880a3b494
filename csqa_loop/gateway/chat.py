"""The OpenAI-compatible chat endpoint."""

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from csqa_loop.answering.answerer import Answerer
from csqa_loop.answering.question import Answered, Prepared, Question
from csqa_loop.errors import CsqaError
from csqa_loop.events import AnswerGiven, ChatMessage, Sampling
from csqa_loop.gateway.bodies import LONGEST_TEXT, MODEL, ChatBody, chat_body, read_body
from csqa_loop.gateway.leaving import while_there
from csqa_loop.gateway.parts import Parts
from csqa_loop.gateway.streaming import EventStream
from csqa_loop.http.problems import Problem, problem_of
from csqa_loop.settings import Settings
from csqa_loop.text.identity import sign_feedback

_log = logging.getLogger(__name__)
_DAY_SECONDS = 24 * 3600


def chat_router(parts: Parts) -> APIRouter:
    """`POST /v1/chat/completions` and `GET /v1/models`."""
    router = APIRouter()
    settings = parts.settings
    started = int(time.time())

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": started, "owned_by": "csqa_loop"}]}

    @router.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        if name != MODEL:
            raise Problem(
                404,
                detail=f"the model {name[:100]!r} does not exist; the one model here is {MODEL!r}",
                code="model_not_found",
                param="model",
            )
        return {"id": MODEL, "object": "model", "created": started, "owned_by": "csqa_loop"}

    @router.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        began = time.perf_counter()
        body = chat_body(await read_body(request, settings.answer.max_body_bytes))
        question = _question(body, settings)
        answerer = parts.answerer
        if body.stream:
            usage = bool(body.stream_options and body.stream_options.include_usage)
            return EventStream(
                _events(parts, answerer, question, began, include_usage=usage),
                keep_alive_seconds=settings.gateway.keep_alive_seconds,
                last_words=lambda error: _last_words(parts, error),
            )
        answer = await while_there(request.receive, answerer.answer(question))
        _count(parts, answer.event)
        return Response(orjson.dumps(_completion(parts, answer)), media_type="application/json")

    return router


def _question(body: ChatBody, settings: Settings) -> Question:
    if body.messages[-1].role != "user" or not body.messages[-1].text.strip():
        raise Problem(422, detail="messages: the last message must be the user's question, with text", param="messages")
    if len(body.messages[-1].text) > LONGEST_TEXT:
        raise Problem(422, detail=f"messages: the question is longer than {LONGEST_TEXT} characters", param="messages")
    defaults = settings.answer
    max_tokens = body.max_completion_tokens or body.max_tokens or defaults.max_tokens
    most = settings.model_server.max_model_len // 2
    if max_tokens > most:
        raise Problem(
            422, detail=f"max_tokens is {max_tokens}; at most {most} fit beside the question and the policies", param="max_tokens"
        )
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    return Question(
        # Instructions are the installation's: a system message from outside could overrule the policies, so it is left out.
        messages=tuple(
            ChatMessage(role=message.role, content=message.text) for message in body.messages if message.role in {"user", "assistant"}
        ),
        sampling=Sampling(
            temperature=defaults.temperature if body.temperature is None else body.temperature,
            top_p=defaults.top_p if body.top_p is None else body.top_p,
            max_tokens=max_tokens,
            seed=body.seed,
        ),
        conversation_id=body.conversation_id,
        user=body.user or None,
        stop=stop,
    )


async def _events(
    parts: Parts, answerer: Answerer, question: Question, began: float, *, include_usage: bool
) -> AsyncGenerator[bytes, None]:
    prepared = await answerer.prepare(question)
    exposure = prepared.exposure
    frame = {"id": exposure.message_id, "object": "chat.completion.chunk", "created": int(exposure.occurred_at.timestamp()), "model": MODEL}
    if include_usage:
        frame["usage"] = None

    def chunk(delta: dict[str, str], reason: str | None = None, **extra: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event({**frame, "choices": [choice], **extra})

    def ending(answer: Answered) -> bytes:
        _count(parts, answer.event)
        extra = _extra(parts, answer)
        last = chunk({}, answer.finish_reason, csqa=extra)
        if include_usage:
            last += _event({**frame, "choices": [], "usage": _usage(answer.event), "csqa": extra})
        return last + b"data: [DONE]\n\n"

    async with aclosing(answerer.stream(prepared)) as pieces:
        begun = False
        async for piece in pieces:
            if not begun:
                begun = True
                parts.metrics.first_token.observe(time.perf_counter() - began)
                yield chunk({"role": "assistant", "content": ""}, csqa=_extra_at_first(prepared))
            yield chunk({"content": piece}) if isinstance(piece, str) else ending(piece)


def _last_words(parts: Parts, error: Exception) -> bytes:
    """The status is sent; clients of OpenAI look for this object. No `[DONE]` follows it: that stands behind whole answers only."""
    parts.metrics.errors.labels("broken stream").inc()
    if not isinstance(error, (CsqaError, Problem)):
        _log.error("a stream failed", exc_info=error)
    return _event(problem_of(error).body())


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


def _completion(parts: Parts, answer: Answered) -> dict[str, Any]:
    fact = answer.event
    message = {"role": "assistant", "content": fact.answer, "refusal": None}
    return {
        "id": fact.message_id,
        "object": "chat.completion",
        "created": int(answer.exposure.occurred_at.timestamp()),
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}],
        "usage": _usage(fact),
        "csqa": _extra(parts, answer),
    }


def _usage(fact: AnswerGiven) -> dict[str, int]:
    return {
        "prompt_tokens": fact.tokens.prompt,
        "completion_tokens": fact.tokens.completion,
        "total_tokens": fact.tokens.prompt + fact.tokens.completion,
    }


def _extra_at_first(prepared: Prepared) -> dict[str, Any]:
    exposure = prepared.exposure
    return {
        "message_id": exposure.message_id,
        "conversation_id": exposure.conversation_id,
        "exposure_event_id": str(exposure.event_id),
        "experiment": exposure.experiment,
        "arm": exposure.arm,
        "adapter": exposure.adapter,
        "index_version": prepared.index_version,
        "citations": [citation.model_dump() for citation in prepared.citations],
        "covered": prepared.covered,
    }


def _extra(parts: Parts, answer: Answered) -> dict[str, Any]:
    fact = answer.event
    expires = int(fact.occurred_at.timestamp() + parts.settings.answer.feedback_days * _DAY_SECONDS)
    return {
        "message_id": fact.message_id,
        "conversation_id": fact.conversation_id,
        "event_id": str(fact.event_id),
        "exposure_event_id": str(answer.exposure.event_id),
        "experiment": fact.experiment,
        "arm": fact.arm,
        "adapter": fact.adapter,
        "index_version": fact.index_version,
        "citations": [citation.model_dump() for citation in fact.citations],
        "source": fact.source,
        "confidence": fact.confidence,
        "covered": fact.covered,
        "handoff": fact.handoff,
        "feedback_token": sign_feedback(parts.secrets.secret, fact.message_id, fact.user, fact.arm, expires),
    }


def _count(parts: Parts, fact: AnswerGiven) -> None:
    parts.metrics.answers.labels(fact.arm, fact.source, str(fact.covered).lower()).inc()
    parts.metrics.tokens.labels("prompt").inc(fact.tokens.prompt)
    parts.metrics.tokens.labels("completion").inc(fact.tokens.completion)
