"""Thumbs of customers and bad cases of agents: accepted once they are safe, in the log or on disk on their way there."""

import asyncio
import time

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from csqa_loop.events import BadCaseReported, Event, FeedbackGiven, now
from csqa_loop.gateway.bodies import BadCaseBody, FeedbackBody, read_body, validated
from csqa_loop.gateway.parts import Parts
from csqa_loop.http.keys import require_operator
from csqa_loop.http.problems import Problem
from csqa_loop.text.identity import TokenRefusedError, conversation_of, verify_feedback
from csqa_loop.text.masking import mask, may_tell
from csqa_loop.text.vouching import Vouched, vouched


def feedback_router(parts: Parts) -> APIRouter:
    """`POST /v1/feedback` and `POST /v1/bad-cases`."""
    router = APIRouter()
    limit, secrets, own = parts.settings.answer.max_body_bytes, parts.secrets, parts.settings.privacy.known

    def conversation(message_id: str) -> str:
        conversation_id = conversation_of(secrets.secret, message_id)
        if conversation_id is None:
            raise Problem(404, detail=f"no answer here has the message_id {message_id!r}", param="message_id")
        return conversation_id

    async def without_secrets(message_id: str, text: str) -> Vouched:
        if not may_tell(text):
            return Vouched(own)
        policies = parts.index.texts() if parts.index else ()
        return await asyncio.to_thread(vouched, secrets.secret, message_id, (text,), own, policies)

    async def accepted(event: Event) -> Response:
        await parts.bus.publish(event)
        return Response(orjson.dumps({"event_id": str(event.event_id)}), 202, media_type="application/json")

    @router.post("/v1/feedback", status_code=202)
    async def give_feedback(request: Request) -> Response:
        body = validated(FeedbackBody, await read_body(request, limit))
        conversation_id = conversation(body.message_id)
        try:
            claim = verify_feedback(secrets.secret, body.token, body.message_id, time.time())
        except TokenRefusedError as error:
            raise Problem(403, detail=str(error), param="token") from None
        comment = await without_secrets(body.message_id, body.comment or "")
        return await accepted(
            FeedbackGiven(
                occurred_at=now(),
                conversation_id=conversation_id,
                message_id=body.message_id,
                user=claim.user,
                thumb=body.thumb,
                comment=comment.masked(body.comment) if body.comment else None,
                stated=comment.stated,
                stated_proof=comment.proof,
            )
        )

    @router.post("/v1/bad-cases", status_code=202)
    async def report_bad_case(request: Request) -> Response:
        require_operator(request, secrets.operator_key)
        body = validated(BadCaseBody, await read_body(request, limit))
        if mask(body.corrected_answer or "", own) != (body.corrected_answer or ""):
            # Only who has read all policies can tell whether a contact is the company's: until then it would be lost.
            _ = parts.followed_index
        correction = await without_secrets(body.message_id, body.corrected_answer or "")
        return await accepted(
            BadCaseReported(
                occurred_at=now(),
                conversation_id=conversation(body.message_id),
                message_id=body.message_id,
                reason=body.reason,
                corrected_answer=correction.masked(body.corrected_answer) if body.corrected_answer else None,
                reviewer=body.reviewer,
                stated=correction.stated,
                stated_proof=correction.proof,
            )
        )

    return router
