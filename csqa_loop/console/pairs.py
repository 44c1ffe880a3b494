"""Pairs, what they come from, and what the next training set would be."""

import asyncio
from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Query

from csqa_loop.console.answers import NextRun
from csqa_loop.console.parts import ConsoleParts
from csqa_loop.evidence.pair_pages import PairPage, UnpairedPage, pairs_page, unpaired_page
from csqa_loop.evidence.pair_queries import fresh_pairs, holdout_pairs
from csqa_loop.evidence.pair_trace import PairTrace, pair_trace
from csqa_loop.evidence.rules.pairs import PairState
from csqa_loop.http.problems import Problem
from csqa_loop.settings.learning import Source
from csqa_loop.training.policy import selection_policy
from csqa_loop.training.protected import regression_phrasings
from csqa_loop.training.rules.selection import select

Limit = Annotated[int, Query(ge=1, le=5000)]


def pairs_router(parts: ConsoleParts) -> APIRouter:
    """GET /pairs, /pairs/next-run, /pairs/{pair_id} and /unpaired."""
    router = APIRouter()

    @router.get("/pairs")
    async def list_pairs(
        state: PairState | None = None,
        source: Source | None = None,
        category: str | None = None,
        after: str | None = None,
        limit: Limit = 1000,
    ) -> PairPage:
        return await parts.ledger.ask(pairs_page, state=state, source=source, category=category, after=after, limit=limit)

    # Before /pairs/{pair_id}, which would take it for a pair.
    @router.get("/pairs/next-run")
    async def show_next_run() -> NextRun:
        fresh, holdout = await parts.ledger.ask(fresh_pairs), await parts.ledger.ask(holdout_pairs)
        protected = [*(pair.question for pair in holdout), *regression_phrasings(parts.settings.gate.regression_file)]
        # Seconds for 100,000 pairs: not on the loop's thread.
        selection = await asyncio.to_thread(select, fresh, protected, selection_policy(parts.settings))
        trigger = parts.settings.trigger
        return NextRun(
            summary=str(selection),
            taken=tuple(pair.pair_id for pair in selection.taken),
            users=selection.users,
            by_source=Counter(pair.source for pair in selection.taken),
            by_category=Counter(pair.category for pair in selection.taken),
            held_back=tuple(pair.pair_id for pair in selection.held_back),
            left_out=tuple(selection.left_out),
            min_pairs=trigger.min_pairs,
            max_age_hours=trigger.max_age_hours,
            schedule=trigger.schedule,
            fewest_pairs=trigger.fewest_pairs,
            min_users=parts.settings.preferences.min_users,
            method=parts.settings.training.method,
            holdout_pairs=len(holdout),
        )

    @router.get("/pairs/{pair_id}")
    async def show_pair(pair_id: str) -> PairTrace:
        trace = await parts.ledger.ask(pair_trace, pair_id)
        if trace is None:
            raise Problem(404, "Unknown pair", f"no pair {pair_id!r} is made of what is recorded; `csqa pairs list` names those that are")
        return trace

    @router.get("/unpaired")
    async def list_unpaired(after: str | None = None, limit: Limit = 1000) -> UnpairedPage:
        return await parts.ledger.ask(unpaired_page, after=after, limit=limit)

    return router
