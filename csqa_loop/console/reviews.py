"""The review queue over HTTP: `/v1/reviews` for agents and files, and the page at `/reviews`."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from csqa_loop.console.agents import Agents
from csqa_loop.console.answers import Decided, Imported
from csqa_loop.console.parts import ConsoleParts
from csqa_loop.errors import PermanentError
from csqa_loop.events import now
from csqa_loop.evidence.review.desk import Desk, NoItemError, TakenError, shown_lease
from csqa_loop.evidence.review.queue import QueueFilter
from csqa_loop.evidence.review.rules.items import QueuePage, ShownLease, WholeItem, WholePage
from csqa_loop.evidence.review.rules.reviewing import (
    LONGEST_CORRECTION,
    LONGEST_NOTE,
    DecidedMeanwhileError,
    Decision,
    DecisionRefusedError,
    ReviewAction,
)
from csqa_loop.evidence.rules.quality import tokens_in
from csqa_loop.http.problems import Problem

MOST_ROWS = 500
_Word = Annotated[str, Query(max_length=200)]


class DecisionBody(BaseModel):
    """Body of POST /v1/reviews/{review_id}. The key alone names the agent who decides."""

    model_config = ConfigDict(extra="forbid")
    action: ReviewAction
    corrected_answer: Annotated[str, Field(max_length=LONGEST_CORRECTION)] | None = None
    note: Annotated[str, Field(max_length=LONGEST_NOTE)] = ""


class ImportBody(BaseModel):
    """Body of POST /v1/reviews: rows with `review_id`, `action`, `corrected_answer` and `note`."""

    model_config = ConfigDict(extra="forbid")
    rows: Annotated[list[dict[str, object]], Field(max_length=MOST_ROWS)]


def review_router(parts: ConsoleParts, caught_up: Callable[[], bool]) -> APIRouter:
    """Everything under /v1/reviews."""
    agents = Agents(parts)
    settings = parts.settings
    desk = Desk(
        parts.ledger,
        parts.bus,
        now,
        token_limit=settings.longest_example,
        tokens_in=tokens_in,
        own=settings.privacy.known,
        secret=parts.secrets.secret,
    )

    async def agent(authorization: Annotated[str, Header()] = "") -> str:
        return agents.named_by(authorization)

    async def current() -> None:
        if not caught_up():
            # Records that the ledger has not taken yet may decide the same item.
            raise Problem(503, detail="the ledger is still reading the log, and decisions wait for that; ask again")

    router = APIRouter(prefix="/v1/reviews", dependencies=[Depends(agent)])
    agent_name = Annotated[str, Depends(agent)]

    @router.get("")
    async def list_items(
        reader: agent_name,
        state: Literal["open", "decided", "all"] = "open",
        kind: Literal["", "answer", "pair"] = "",
        reason: _Word = "",
        fault: _Word = "",
        policy: _Word = "",
        q: _Word = "",
        after: _Word = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        *,
        whole: bool = False,
    ) -> QueuePage | WholePage:
        return await desk.page(QueueFilter(state, kind, reason, fault, policy, q), after=after, limit=limit, whole=whole, agent=reader)

    @router.get("/{review_id}")
    async def show_item(review_id: str) -> WholeItem:
        try:
            return await desk.item(review_id)
        except NoItemError as error:
            raise Problem(404, detail=str(error)) from None

    @router.post("/{review_id}/lease")
    async def take_item(review_id: str, taker: agent_name) -> ShownLease:
        try:
            return shown_lease(await desk.take(review_id, taker))
        except PermanentError as error:
            raise _problem(error) from None

    @router.delete("/{review_id}/lease", status_code=204)
    async def give_item_back(review_id: str, holder: agent_name) -> Response:
        desk.give_back(review_id, holder)
        return Response(status_code=204)

    @router.post("/{review_id}", dependencies=[Depends(current)])
    async def decide_item(review_id: str, body: DecisionBody, reviewer: agent_name, response: Response) -> Decided:
        try:
            event, in_ledger = await desk.decide(review_id, Decision(body.action, body.corrected_answer, body.note), reviewer)
        except PermanentError as error:
            raise _problem(error) from None
        response.status_code = 200 if in_ledger else 202
        return Decided(event_id=str(event.event_id), review_id=review_id, in_ledger=in_ledger)

    @router.post("", dependencies=[Depends(current)])
    async def import_items(body: ImportBody, reviewer: agent_name) -> Imported:
        return Imported(rows=tuple(await desk.import_rows(body.rows, reviewer)))

    return router


def _problem(error: PermanentError) -> Problem:
    match error:
        case NoItemError():
            return Problem(404, detail=str(error))
        case TakenError():
            return Problem(409, detail=str(error), code="taken")
        case DecidedMeanwhileError():
            return Problem(409, detail=str(error), code="decided")
        case DecisionRefusedError():
            return Problem(422, detail=str(error), param=error.field)
        case _:
            return Problem(400, detail=str(error))
