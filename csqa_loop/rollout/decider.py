"""The beat of the loop: read the ledger, take the one next step, wait until it is recorded, read again."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import (
    AdapterUnservable,
    DeploymentChanged,
    Event,
    ExperimentContract,
    ShareRaised,
    TrainingFailed,
    TrainingRequested,
    VerdictReached,
    derived_id,
)
from csqa_loop.experiment.examiner import Examiner, opened
from csqa_loop.ledger.service import LedgerService
from csqa_loop.log.bus import Bus
from csqa_loop.rollout.reconciler import Reconciler, deployment_after
from csqa_loop.rollout.rules.next_step import next_step
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.rollout.rules.steps import (
    Deploy,
    EndExperiment,
    FailRun,
    GiveUp,
    JudgeExperiment,
    LookForWork,
    OpenExperiment,
    RetryRun,
    Step,
    Wait,
)
from csqa_loop.rollout.rules.unservable import Obstacle, instead, newcomer
from csqa_loop.rollout.state import interventions, loop_state
from csqa_loop.training.adapters import AdapterFolders
from csqa_loop.training.planner import RunPlanner
from csqa_loop.training.rules.attempts import Run

_log = logging.getLogger(__name__)
_RECORDED_WITHIN = 15.0
"""Seconds until a published decision must have come back through the log."""
_MOST_STEPS = 20
_REST_SECONDS = 0.5
_LONG_REST_SECONDS = 5.0
"""While nothing is under way: what starts something is a batch, a replica that came or went, or an hour that passed."""
_PLANNING_SECONDS = 0.5
"""How long a beat waits for the planner."""


class Decider:
    """Takes decisions one at a time. Each is published as a fact and counts only once the ledger holds it.

    A decision that was published and has not come back is sent again, byte for byte, before anything else is decided: the state it
    was based on would otherwise lead to a second, different one. `horizon` is the moment up to which the log has been taken: windows close
    and silence is measured by it, so that a ledger that lags behind decides nothing it would have to regret.
    """

    def __init__(
        self,
        ledger: LedgerService,
        bus: Bus,
        planner: RunPlanner,
        examiner: Examiner,
        reconciler: Reconciler,
        folders: AdapterFolders,
        *,
        resident_within: timedelta,
        contract: ExperimentContract,
        progress_timeout: timedelta,
        max_attempts: int,
        clock: Callable[[], datetime],
        horizon: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._bus = bus
        self._planner = planner
        self._examiner = examiner
        self._reconciler = reconciler
        self._folders = folders
        self._resident_within = resident_within
        self._contract = contract
        self._progress_timeout = progress_timeout
        self._max_attempts = max_attempts
        self._clock = clock
        self._horizon = horizon
        self.rest_seconds = _REST_SECONDS
        """How long the next beat may wait where no batch is taken and no replica comes or goes."""
        self._pending: Event | None = None
        self._planning: asyncio.Task[TrainingRequested | None] | None = None
        self._planned_for: tuple[str, Run | None] | None = None

    async def beat(self) -> LoopState:
        """Take steps until there is none to take now; the state after them.

        Raises:
            TransientError: the log or the disk did not answer; the next beat goes on from the ledger.
        """
        self.rest_seconds = _REST_SECONDS
        for _ in range(_MOST_STEPS):
            if self._pending is not None and not await self._publish(self._pending):
                break
            state = await self._ledger.ask(loop_state, self._horizon())
            step = next_step(state, progress_timeout=self._progress_timeout, max_attempts=self._max_attempts)
            if state.deployment:
                self._reconciler.begin(state.deployment, self._clock())
            decision = await self._decide(step, state)
            if decision is None:
                # Only now: no decision waits for a model server unless it gives an adapter traffic.
                await self._reconciler.settle()
                if isinstance(step, LookForWork) and self._planning is None and not self._reconciler.troubles:
                    self.rest_seconds = _LONG_REST_SECONDS
                return state
            # A look at many users, a plan or a wait for a replica takes its time: what a person has ordered meanwhile comes first.
            if await self._ledger.ask(interventions) != state.operators:
                continue
            if not await self._publish(decision):
                break
        return await self._ledger.ask(loop_state, self._horizon())

    async def _decide(self, step: Step, state: LoopState) -> Event | None:
        if not isinstance(step, LookForWork):
            self._planned_for = None  # the plan under way rests on a state that may differ when it is asked for again
        if isinstance(step, Deploy | OpenExperiment) and (obstacle := await self._obstacle(step, state.deployment)):
            step = instead(step, state, obstacle, self._resident_within)
        # An order that overtakes the experiment takes its refusal with it.
        if refusal := await self._examiner.refuses(self._contract if isinstance(step, OpenExperiment) else None):
            step = Wait(refusal)
        return await self._carried_out(step, state)

    async def _obstacle(self, step: Deploy | OpenExperiment, deployment: DeploymentChanged | None) -> Obstacle | None:
        """What is in the way of the adapter that the step gives traffic, or makes resident."""
        gains = newcomer(step, deployment)
        retreat = isinstance(step, Deploy) and step.retreat
        if gains and retreat and self._reconciler.holds_somewhere(gains):
            return None
        adapters = [gains]
        if isinstance(step, Deploy) and step.order is None and deployment and step.candidate != deployment.candidate:
            adapters.append(step.candidate)
        for adapter in filter(None, adapters):
            try:
                fault = await asyncio.to_thread(self._folders.fault, adapter)
            except TransientError as error:
                return Obstacle(adapter, str(error))
            if fault:
                return Obstacle(adapter, fault, final=True)
        if gains is None:
            return None
        await self._reconciler.settle()
        ready = self._reconciler.holds_somewhere(gains) if retreat else self._reconciler.holds_everywhere(gains)
        return None if ready else self._reconciler.obstacle(gains)

    async def _carried_out(self, step: Step, state: LoopState) -> Event | None:
        now = self._clock()
        match step:
            case Deploy():
                return deployment_after(state.deployment, step, now)
            case OpenExperiment():
                if state.run is None:
                    return None
                contract = await self._examiner.promised(self._contract)
                return opened(step.run_id, state.run.request.attempt, contract, now, champion=step.champion, challenger=step.challenger)
            case GiveUp():
                return AdapterUnservable(
                    event_id=derived_id(step.request.run_id, "AdapterUnservable", step.request.attempt),
                    occurred_at=now,
                    run_id=step.request.run_id,
                    attempt=step.request.attempt,
                    adapter=step.adapter,
                    reason=step.reason,
                )
            case JudgeExperiment():
                outcome = await self._examiner.look(step.experiment, as_of=state.as_of, now=now)
                return outcome if step.may_advance or not _advances(outcome) else None
            case EndExperiment():
                return await self._ended(step, state.as_of, now)
            case RetryRun():
                _log.warning("run %s attempt %d: %s; trying again", step.request.run_id, step.request.attempt, step.cause)
                return await self._planner.retry(step.request, now)
            case FailRun():
                request = step.request
                return TrainingFailed(
                    event_id=derived_id(request.run_id, "TrainingFailed", f"{request.attempt} loop"),
                    occurred_at=now,
                    run_id=request.run_id,
                    attempt=request.attempt,
                    stage="training",
                    reason=step.cause,
                )
            case LookForWork():
                return await self._planned(state.deployment.champion, state.run, now) if state.deployment else None
            case Wait():
                return None

    async def _planned(self, champion: str, last: Run | None, now: datetime) -> TrainingRequested | None:
        """What the planner found for this champion. Choosing among tens of thousands of pairs takes longer than an order may wait, so a later
        beat asks again.
        """
        if self._planning is None:
            self._planned_for = champion, last
            self._planning = asyncio.create_task(self._planner.claim(champion, now, last))
        await asyncio.wait({self._planning}, timeout=_PLANNING_SECONDS)
        if not self._planning.done():
            return None
        planning, self._planning = self._planning, None
        request = planning.result()
        return request if self._planned_for == (champion, last) else None

    async def _ended(self, step: EndExperiment, as_of: datetime, now: datetime) -> VerdictReached:
        # Its verdict does not count: a person has decided, and the record shows the numbers of that moment.
        try:
            await self._examiner.look(step.experiment, as_of=as_of, now=now)
        except PermanentError as error:
            # An experiment ends on order even where its numbers cannot be computed.
            _log.warning("experiment %s ends without the numbers of this moment: %s", step.experiment.opened.experiment_id, error)
        *_, estimates = self._examiner.seen(step.experiment)
        name = step.experiment.opened.experiment_id
        return VerdictReached(
            event_id=derived_id(name, "VerdictReached"),
            occurred_at=now,
            experiment_id=name,
            verdict="INCONCLUSIVE",
            as_of=as_of,
            stopped_by=step.stopped_by,
            estimates=estimates,
        )

    async def _publish(self, decision: Event) -> bool:
        self._pending = decision
        try:
            await self._bus.publish(decision)
        except PermanentError:
            self._pending = None  # the log will never hold it: the next beat decides anew, and an order by hand comes first
            raise
        if not await self._ledger.wait_for(decision.event_id, _RECORDED_WITHIN):
            _log.warning("%s %s is published and not yet back from the log; sending it again", decision.type, decision.event_id)
            return False
        _log.info("decided: %s %s", decision.type, decision.key)
        self._pending = None
        return True


def _advances(outcome: VerdictReached | ShareRaised | None) -> bool:
    """Whether the challenger would get more traffic."""
    return isinstance(outcome, ShareRaised) or (outcome is not None and outcome.verdict == "PROMOTE")
