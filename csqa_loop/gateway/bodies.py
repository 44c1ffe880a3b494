"""What clients may send: read within the limit, validated, and refused by name where it is not supported."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.requests import ClientDisconnect

from csqa_loop.gateway.leaving import client_left
from csqa_loop.http.problems import Problem, problem_of
from csqa_loop.text.identity import MAX_CONVERSATION_ID

Body = TypeVar("Body", bound=BaseModel)
MODEL = "csqa"
"""The one model that clients see; which adapter answers is ours to decide."""

LONGEST_TEXT = 100_000
_Content = Annotated[str, StringConstraints(max_length=LONGEST_TEXT)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]

# Asking for one of these and getting an answer that ignored it would be worse than an error.
_CANNOT: Mapping[str, tuple[object, ...]] = {
    "n": (None, 1),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
    "reasoning_effort": (None, "none"),
    "verbosity": (None,),
}
_HARMLESS = frozenset(
    {"metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
)


class TextPart(BaseModel):
    """A piece of a message."""

    type: Literal["text"]
    text: _Content


class Message(BaseModel):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: _Content | Annotated[list[TextPart], Field(min_length=1, max_length=100)] | None = None

    @property
    def text(self) -> str:
        """The content in one piece."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    """OpenAI's."""

    include_usage: bool = False


class ChatBody(BaseModel):
    """`POST /v1/chat/completions`: OpenAI's fields that have a meaning here, and `conversation_id`."""

    model_config = ConfigDict(extra="forbid")
    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=500)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[str, StringConstraints(min_length=1, max_length=200)] | Annotated[list[_Name], Field(max_length=4)] | None = None
    user: Annotated[str, StringConstraints(max_length=500)] | None = None
    conversation_id: (
        Annotated[str, StringConstraints(min_length=1, max_length=MAX_CONVERSATION_ID, pattern=r"^[^\x00-\x1f\x7f]+$")] | None
    ) = None


class FeedbackBody(BaseModel):
    """`POST /v1/feedback`."""

    model_config = ConfigDict(extra="forbid")
    message_id: _Name
    token: Annotated[str, StringConstraints(min_length=1, max_length=4000)]
    thumb: Literal["up", "down"]
    comment: Annotated[str, StringConstraints(max_length=5000)] | None = None


class BadCaseBody(BaseModel):
    """`POST /v1/bad-cases`."""

    model_config = ConfigDict(extra="forbid")
    message_id: _Name
    reason: Literal["wrong", "incomplete", "tone", "unsafe", "other"]
    corrected_answer: Annotated[str, StringConstraints(min_length=1, max_length=15_000)] | None = None
    reviewer: _Name


class SearchBody(BaseModel):
    """`POST /v1/knowledge/search`."""

    model_config = ConfigDict(extra="forbid")
    query: Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
    k: Annotated[int, Field(ge=1, le=100)] = 5


async def read_body(request: Request, limit: int) -> dict[str, Any]:
    """The JSON object in the body, never holding more than `limit` bytes of it.

    Raises:
        Problem: 413 too large, 400 not a JSON object, 499 where the client left while it sent.
    """
    too_large = Problem(413, detail=f"the body is larger than {limit} bytes", headers={"Connection": "close"})
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    read = bytearray()
    try:
        async for piece in request.stream():
            read += piece
            if len(read) > limit:
                raise too_large
    except ClientDisconnect:
        raise client_left() from None
    try:
        body = orjson.loads(read)
    except orjson.JSONDecodeError as error:
        raise Problem(400, detail=f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Problem(400, detail="the body must be a JSON object")
    return body


def validated(kind: type[Body], body: dict[str, Any]) -> Body:
    """The body as `kind`.

    Raises:
        Problem: 422 with the field's name.
    """
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise problem_of(error) from None


def chat_body(body: dict[str, Any]) -> ChatBody:
    """A chat request that can be answered as asked.

    Raises:
        Problem: 404 for another model, 400 for a field we cannot honour or do not know, 422 for a wrong value.
    """
    model = body.get("model")
    if isinstance(model, str) and model != MODEL:
        raise Problem(
            404, detail=f"the model {model[:100]!r} does not exist; the one model here is {MODEL!r}", code="model_not_found", param="model"
        )
    fields = ChatBody.model_fields
    plain = {}
    for name, value in body.items():
        if name in fields:
            plain[name] = value
        elif name in _CANNOT:
            if value not in _CANNOT[name]:
                raise Problem(400, detail=f"{name!r} is not supported here; leave it out", code="unsupported_parameter", param=name)
        elif name not in _HARMLESS:
            raise Problem(400, detail=f"{name[:100]!r} is not a field of this endpoint", code="unknown_parameter", param=name[:100])
    return validated(ChatBody, plain)
