"""Claiming a training run: deterministic id, complete run directory, then the request in the log."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from csqa_loop.events import BASE, TrainingFailed, TrainingRequested, derived_id
from csqa_loop.evidence import pair_queries
from csqa_loop.evidence.rules.examples import UnpairedExample
from csqa_loop.evidence.rules.pairs import Pair
from csqa_loop.ledger.service import LedgerService
from csqa_loop.text.similarity import Protected
from csqa_loop.training.policy import RunPolicy
from csqa_loop.training.rules.attempts import Run
from csqa_loop.training.rules.plan import MethodSetting, Plan, PlanPolicy, RunMethod, Supply, mixed, plan, unmet
from csqa_loop.training.rules.replay import Earlier, repeated
from csqa_loop.training.rules.selection import Selection, select, select_examples
from csqa_loop.training.rules.trigger import Backlog, TrainingReason, due, run_id
from csqa_loop.training.run.rows import Demonstration, Unpaired, examples_hash
from csqa_loop.training.run.writer import RunWriter

_log = logging.getLogger(__name__)
_EXAMPLES_EVERY = timedelta(minutes=1)
"""Between two looks at the rated answers: there are many, and each look reads them all."""


@dataclass(frozen=True)
class _Examined:
    """What a run is measured by, and so not trained on."""

    pairs: tuple[Pair, ...] = ()
    """Held out for good, or held back for this run as the newest; oldest first."""
    regression: tuple[str, ...] = ()

    @property
    def questions(self) -> list[str]:
        return [*(pair.question for pair in self.pairs), *self.regression]

    def and_also(self, newest: Sequence[Pair]) -> "_Examined":
        return _Examined(tuple(sorted((*self.pairs, *newest), key=lambda pair: (pair.occurred_at, pair.pair_id))), self.regression)


@dataclass(frozen=True)
class _Draft:
    """What a run would be trained on, and why."""

    method: RunMethod
    reason: str
    pairs: tuple[Pair, ...] = ()
    examples: tuple[UnpairedExample, ...] = ()


class RunPlanner:
    """Turns fresh pairs and examples into one run, once enough of them may be trained on together."""

    def __init__(self, ledger: LedgerService, runs: RunWriter, policy: RunPolicy) -> None:
        self._ledger = ledger
        self._runs = runs
        self._policy = policy
        self._selected: tuple[tuple[str, ...], Selection] | None = None
        self._examples_next: datetime | None = None

    async def claim(self, champion: str, now: datetime, last: Run | None = None) -> TrainingRequested | None:
        """A request whose run directory is complete, or None while no run is due. `last` is the run before."""
        fresh, method = await self._ledger.ask(pair_queries.fresh_pairs), self._policy.method
        last_run = last.request.occurred_at if last else None
        examined: _Examined | None = None
        selection, reason = None, None
        # A selection is never more than what is fresh, and this is asked every second.
        if await self._reason_to_run(fresh, now, last_run) is not None:
            examined = await self._examined()
            selection = await self._select(fresh, examined)
            reason = await self._reason_to_run(selection.taken, now, last_run)
            examined = examined.and_also(selection.held_back) if reason else examined
        draft = None
        if method == "dpo" or method == "placebo":  # noqa: PLR1714 - the type checker narrows by this alone
            if selection and reason:
                draft = _Draft(method, f"{reason}: {selection}", selection.taken)
        elif self._examples_next is None or now >= self._examples_next or (reason and method != "sft"):
            self._examples_next = now + _EXAMPLES_EVERY
            examined = await self._examined() if examined is None else examined
            draft = await self._planned(method, champion, examined, selection if reason else None)
        failed = last.request if last and last.failed else None
        return await self._request(draft, champion, examined or _Examined(), now, failed) if draft else None

    async def retry(self, request: TrainingRequested, now: datetime) -> TrainingRequested | TrainingFailed:
        """The same run with the next attempt; its directory is written again where it went missing. Its end, where what it would train on may
        not be trained on any more: the request pins its examples, so another run has to be planned from what is left.
        """
        if spoilt := await self._spoilt(request):
            name, state = spoilt[0]
            return TrainingFailed(
                event_id=derived_id(request.run_id, "TrainingFailed", f"{request.attempt} spoilt"),
                occurred_at=now,
                run_id=request.run_id,
                attempt=request.attempt,
                stage="starting",
                reason=f"{len(spoilt)} of its examples may not be trained on any more, {name} for one, which is {state}; others will be a run",
                final=True,
            )
        attempt = request.attempt + 1
        again = request.model_copy(
            update={"attempt": attempt, "event_id": derived_id(request.run_id, "TrainingRequested", attempt), "occurred_at": now}
        )
        unpaired, demonstrations = _rows(
            await self._ledger.ask(pair_queries.examples_by_id, request.example_ids) if request.example_ids else ()
        )
        await self._runs.prepare(
            again,
            await self._ledger.ask(pair_queries.pairs_by_id, request.pair_ids),
            await self._ledger.ask(pair_queries.pairs_by_id, request.holdout_pair_ids),
            replay=await self._ledger.ask(pair_queries.pairs_by_id, request.replay_pair_ids),
            unpaired=unpaired,
            demonstrations=demonstrations,
        )
        return again

    async def _spoilt(self, request: TrainingRequested) -> list[tuple[str, str]]:
        """(id, state) of everything to train on that was sound when it was claimed and is not now."""
        states = await self._ledger.ask(pair_queries.states_of, (*request.pair_ids, *request.replay_pair_ids))
        spoilt = [(name, state) for name, state in states.items() if state not in {"fresh", "claimed"}]
        sound = await self._ledger.ask(pair_queries.examples_by_id, request.example_ids) if request.example_ids else ()
        return spoilt + [(name, "gone or held") for name in sorted(set(request.example_ids) - {example.example_id for example in sound})]

    async def _reason_to_run(self, pairs: Sequence[Pair], now: datetime, last_run: datetime | None) -> TrainingReason | None:
        users = {pair.user for pair in pairs} - {""}
        backlog = Backlog(len(pairs), len(users), min((pair.occurred_at for pair in pairs), default=None), last_run)
        reason = due(backlog, self._policy.trigger, now)
        if reason is TrainingReason.OLD_PAIRS:
            # A report may be dated long before it came.
            since = await self._ledger.ask(pair_queries.recorded_since, [pair.evidence_event_id for pair in pairs])
            reason = due(replace(backlog, oldest=since or backlog.oldest), self._policy.trigger, now)
        return reason

    async def _examined(self) -> _Examined:
        return _Examined(tuple(await self._ledger.ask(pair_queries.holdout_pairs)), await self._runs.examined())

    async def _select(self, fresh: Sequence[Pair], examined: _Examined) -> Selection:
        offered = (*(pair.pair_id for pair in (*fresh, *examined.pairs)), *examined.regression)
        if self._selected is None or self._selected[0] != offered:
            # Seconds for 100,000 pairs: not on the loop's thread.
            selection = await asyncio.to_thread(select, fresh, examined.questions, self._policy.selection)
            self._selected = (offered, selection)
            _log.info("of %d fresh pairs a training set may hold %s", len(fresh), selection)
        return self._selected[1]

    async def _planned(self, setting: MethodSetting, champion: str, examined: _Examined, pairs: Selection | None) -> _Draft | None:
        """What to run where rated answers and demonstrations count too; `pairs` are due, or None.

        Thumbs need as many customers as pairs do; demonstrations have none.
        """
        policy = self._policy
        fresh, protected = await self._ledger.ask(pair_queries.fresh_examples), examined.questions
        rated, demonstrations = [
            await asyncio.to_thread(
                select_examples, (example for example in fresh if (example.liked is None) == demonstrated), protected, policy.selection
            )
            for demonstrated in (False, True)
        ]
        categories, mix = [example.category for example in demonstrations], policy.sft_mix
        # Only what the mix keeps is claimed: the rest waits for a later run.
        demonstrations = tuple(mixed(demonstrations, categories, mix, policy.replay.seed))
        if len(categories) >= policy.min_demonstrations > len(demonstrations):
            _log.info(
                "training.sft_mix keeps %d of %d demonstrations, and a run needs %d",
                len(demonstrations),
                len(categories),
                policy.min_demonstrations,
            )
        liked, users = sum(bool(example.liked) for example in rated), len({example.user for example in rated} - {""})
        enough = min(liked, len(rated) - liked) >= policy.min_rated and users >= min(policy.trigger.min_users, policy.min_rated)
        supply = Supply(
            pairs=len(pairs.taken) if pairs else 0,
            liked=liked if enough else 0,
            disliked=len(rated) - liked if enough else 0,
            demonstrations=len(demonstrations) if len(demonstrations) >= policy.min_demonstrations else 0,
            champion_is_base=champion == BASE,
        )
        method_plan = plan(setting, supply, PlanPolicy(policy.trigger.fewest, policy.min_rated, policy.min_demonstrations))
        draft = _draft(method_plan, rated if enough else (), demonstrations, pairs) if method_plan else None
        missing = unmet(categories, mix)
        if draft and draft.method == "sft" and missing:
            draft = replace(draft, reason=f"{draft.reason}; none of {', '.join(missing)}, whose share of sft_mix went to the others")
        return draft

    async def _request(
        self, draft: _Draft, champion: str, examined: _Examined, now: datetime, failed: TrainingRequested | None
    ) -> TrainingRequested | None:
        holdout = examined.pairs
        replay = await self._replay(draft, champion, examined)
        unpaired, demonstrations = _rows(draft.examples)
        data_hash = examples_hash([*draft.pairs, *replay], unpaired, demonstrations)
        if failed and failed.data_hash == data_hash:
            return None  # what has just failed would fail again; anything that is added or taken away makes it another set
        run = run_id(champion, data_hash, after=failed.run_id if failed else "")
        request = TrainingRequested(
            event_id=derived_id(run, "TrainingRequested", 1),
            occurred_at=now,
            run_id=run,
            attempt=1,
            reason=draft.reason,
            champion=champion,
            pair_ids=tuple(pair.pair_id for pair in draft.pairs),
            holdout_pair_ids=tuple(pair.pair_id for pair in holdout),
            sources=tuple((pair.pair_id, pair.answer_event_id, pair.evidence_event_id) for pair in draft.pairs),
            replay_pair_ids=tuple(pair.pair_id for pair in replay),
            example_ids=tuple(example.example_id for example in draft.examples),
            method=draft.method,
            data_hash=data_hash,
            recipe_hash=self._runs.recipe_hash(champion, data_hash, draft.method),
        )
        await self._runs.prepare(request, draft.pairs, holdout, replay=replay, unpaired=unpaired, demonstrations=demonstrations)
        _log.info("run %s claimed: %s by %s, from %s", run, request.reason, draft.method, champion)
        return request

    async def _replay(self, draft: _Draft, champion: str, examined: _Examined) -> list[Pair]:
        if draft.method not in {"dpo", "kto"}:
            return []
        taught = await self._ledger.ask(pair_queries.taught_pairs, champion)
        # A question may have come to be held out since.
        repeats = Protected(examined.questions).repeated_by(pair.question for pair in taught)
        earlier = [Earlier(pair.pair_id, pair.category, usable=pair.question not in repeats) for pair in taught]
        # A thumb is half a pair.
        repeated_ids = set(repeated(earlier, fresh=len(draft.pairs) or len(draft.examples) // 2, policy=self._policy.replay))
        return [pair for pair in taught if pair.pair_id in repeated_ids]


def _draft(
    method_plan: Plan, rated: tuple[UnpairedExample, ...], demonstrations: tuple[UnpairedExample, ...], pairs: Selection | None
) -> _Draft:
    match method_plan.method:
        case "sft":
            return _Draft("sft", method_plan.reason, examples=demonstrations)
        case "kto":
            return _Draft("kto", f"{method_plan.reason}: {len(rated)} rated answers", pairs.taken if pairs else (), rated)
        case "dpo":
            return _Draft("dpo", f"{method_plan.reason}: {pairs}", pairs.taken if pairs else ())


def _rows(examples: Sequence[UnpairedExample]) -> tuple[list[Unpaired], list[Demonstration]]:
    unpaired = [Unpaired.of(example) for example in examples if example.liked is not None]
    return unpaired, [Demonstration.of(example) for example in examples if example.liked is None]
