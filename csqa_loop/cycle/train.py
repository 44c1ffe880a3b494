"""Claiming a training run: deterministic id, complete run directory, then the request in the log."""

import logging
from datetime import datetime

from csqa_loop.cycle.ports import LedgerReader, RunDirectories
from csqa_loop.domain.events import TrainingRequested, derived_id
from csqa_loop.domain.preferences import Pair, without_near_repeats
from csqa_loop.domain.trigger import Backlog, TriggerPolicy, data_hash, due, run_id

_log = logging.getLogger(__name__)


class RunPlanner:
    """Turns fresh pairs into one run, once there are enough."""

    def __init__(self, ledger: LedgerReader, runs: RunDirectories, policy: TriggerPolicy) -> None:
        self._ledger = ledger
        self._runs = runs
        self._policy = policy

    async def claim(self, champion: str, now: datetime) -> TrainingRequested | None:
        """A request whose run directory is complete, or None while no run is due."""
        holdout = await self._ledger.holdout_pairs()
        pairs = without_near_repeats(await self._ledger.fresh_pairs(), (pair.question for pair in holdout))
        reason = due(Backlog(fresh_pairs=len(pairs), run_in_flight=False), self._policy)
        if reason is None:
            return None
        pairs = pairs[: self._policy.max_pairs]
        pairs_hash = data_hash((p.pair_id, p.prompt, p.chosen, p.rejected) for p in pairs)
        run = run_id(champion, pairs_hash)
        request = TrainingRequested(
            event_id=derived_id(run, "TrainingRequested", 1),
            occurred_at=now,
            run_id=run,
            attempt=1,
            reason=f"{reason}: {len(pairs)}",
            champion=champion,
            pair_ids=tuple(pair.pair_id for pair in pairs),
            holdout_pair_ids=tuple(pair.pair_id for pair in holdout),
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
