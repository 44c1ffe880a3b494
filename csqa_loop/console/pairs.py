"""Pairs and what they come from."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from csqa_loop import problems
from csqa_loop.backends.ledger.pair_pages import pairs_page, unpaired_page
from csqa_loop.backends.ledger.trace import pair_trace
from csqa_loop.bootstrap import LoopParts
from csqa_loop.domain.preferences import Source

State = Literal["fresh", "held", "held_out", "claimed", "quarantined", "withdrawn"]
Limit = Annotated[int, Query(ge=1, le=5000)]


def pairs_router(parts: LoopParts) -> APIRouter:
    """GET /pairs, /pairs/{pair_id} and /unpaired."""
    router = APIRouter()

    @router.get("/pairs")
    async def list_pairs(
        state: State | None = None, source: Source | None = None, category: str | None = None, after: str | None = None, limit: Limit = 500
    ) -> dict[str, Any]:
        page = await parts.ledger.ask(pairs_page, state=state, source=source, category=category, after=after, limit=limit)
        return {"pairs": page.rows, "next": page.next}

    @router.get("/pairs/{pair_id}")
    async def show_pair(pair_id: str) -> dict[str, Any]:
        trace = await parts.ledger.ask(pair_trace, pair_id)
        if trace is None:
            raise problems.Problem(
                404, "Unknown pair", f"no pair {pair_id!r} is made of what is recorded; `csqa pairs list` names those that are"
            )
        return trace

    @router.get("/unpaired")
    async def list_unpaired(after: str | None = None, limit: Limit = 500) -> dict[str, Any]:
        page = await parts.ledger.ask(unpaired_page, after=after, limit=limit)
        return {"unpaired": page.rows, "next": page.next}

    return router
