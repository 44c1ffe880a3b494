"""Claiming a training run: deterministic id, complete run directory, then the request in the log."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

from csqa_loop.cycle.ports import LedgerReader, RunDirectories
from csqa_loop.domain.events import TrainingRequested, derived_id
from csqa_loop.domain.preferences import Pair
from csqa_loop.domain.selection import SelectionPolicy, select
from csqa_loop.domain.trigger import Backlog, TrainingReason, TriggerPolicy, data_hash, due, run_id

_log = logging.getLogger(__name__)


class RunPlanner:
    """Turns fresh pairs into one run, once there are enough that may be trained on together."""

    def __init__(self, ledger: LedgerReader, runs: RunDirectories, trigger: TriggerPolicy, selection: SelectionPolicy) -> None:
        self._ledger = ledger
        self._runs = runs
        self._trigger = trigger
        self._selection = selection
        self._not_due: tuple[str, ...] = ()

    async def claim(self, champion: str, now: datetime) -> TrainingRequested | None:
        """A request whose run directory is complete, or None while no run is due."""
        fresh = await self._ledger.fresh_pairs()
        # A selection is never more than what is fresh, and this is asked every second.
        if self._due(fresh) is None:
            return None
        holdout = await self._ledger.holdout_pairs()
        offered = tuple(pair.pair_id for pair in (*fresh, *holdout))
        if offered == self._not_due:
            return None
        # Seconds for 100,000 pairs: not on the loop's thread.
        selection = await asyncio.to_thread(select, fresh, [pair.question for pair in holdout], self._selection)
        pairs = selection.taken
        reason = self._due(pairs)
        if reason is None:
            self._not_due = offered
            _log.info("no run yet: of %d fresh pairs a training set could hold %s", len(fresh), selection)
            return None
        pairs_hash = data_hash((p.pair_id, p.prompt, p.chosen, p.rejected) for p in pairs)
        run = run_id(champion, pairs_hash)
        request = TrainingRequested(
            event_id=derived_id(run, "TrainingRequested", 1),
            occurred_at=now,
            run_id=run,
            attempt=1,
            reason=f"{reason}: {selection}",
            champion=champion,
            pair_ids=tuple(pair.pair_id for pair in pairs),
            holdout_pair_ids=tuple(pair.pair_id for pair in holdout),
            sources=tuple((pair.pair_id, pair.answer_event_id, pair.evidence_event_id) for pair in pairs),
            data_hash=pairs_hash,
            recipe_hash=self._runs.recipe_hash(champion, pairs_hash),
        )
        await self._runs.prepare(request, pairs, holdout)
        _log.info("run %s claimed: %s, from %s", run, request.reason, champion)
        return request

    async def retry(self, request: TrainingRequested, now: datetime) -> TrainingRequested:
        """The same run with the next attempt; its directory is written again where it went missing."""
        attempt = request.attempt + 1
        again = request.model_copy(
            update={"attempt": attempt, "event_id": derived_id(request.run_id, "TrainingRequested", attempt), "occurred_at": now}
        )
        pairs: list[Pair] = await self._ledger.pairs_of(request.pair_ids)
        await self._runs.prepare(again, pairs, await self._ledger.pairs_of(request.holdout_pair_ids))
        return again

    def _due(self, pairs: Sequence[Pair]) -> TrainingReason | None:
        users = {pair.user for pair in pairs} - {""}
        return due(Backlog(fresh_pairs=len(pairs), users=len(users), run_in_flight=False), self._trigger)
