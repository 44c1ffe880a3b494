"""Opening an experiment by contract, looking at it, and saying what was seen."""

import logging
from datetime import datetime

from csqa_loop.events import ArmEstimate, ExperimentContract, ExperimentOpened, ShareRaised, Verdict, VerdictReached, derived_id
from csqa_loop.experiment.closed_users import ClosedUsers, past_experiments
from csqa_loop.experiment.rules.error_control import next_alpha
from csqa_loop.experiment.rules.experiments import Experiment, experiment_id
from csqa_loop.experiment.rules.feasibility import short_window
from csqa_loop.experiment.rules.verdict import Analysis, analyse
from csqa_loop.experiment.state import recent_latency
from csqa_loop.ledger.service import LedgerService

_log = logging.getLogger(__name__)


def opened(run_id: str, attempt: int, contract: ExperimentContract, now: datetime, *, champion: str, challenger: str) -> ExperimentOpened:
    """The event that opens the experiment of a gated attempt; the salt is the experiment's own, so arms are independent between experiments."""
    name = experiment_id(run_id, attempt)
    return ExperimentOpened(
        event_id=derived_id(name, "ExperimentOpened"),
        occurred_at=now,
        experiment_id=name,
        run_id=run_id,
        champion=champion,
        challenger=challenger,
        salt=name,
        share=contract.ramp[0],
        contract=contract,
    )


class Examiner:
    """Looks at an open experiment as often as it likes: the bounds are valid at every look."""

    def __init__(self, ledger: LedgerService, grace_seconds: float, answer_seconds: float) -> None:
        """`grace_seconds`: how long facts may be on their way to the log; `answer_seconds`: how long an answer may take."""
        self._ledger = ledger
        self._grace_seconds = grace_seconds
        self._answer_seconds = answer_seconds
        self._closed_users = ClosedUsers()
        self.latest: tuple[str, datetime, Analysis] | None = None
        """(experiment, as_of, analysis) of the last look, for people."""
        self.refusal: str | None = None
        """Why an experiment that is due was not opened when it was last tried, for people."""
        self._late: tuple[str, tuple[int, int]] | None = None

    async def refuses(self, contract: ExperimentContract | None) -> str | None:
        """Why an experiment by this contract must not open now: its window is short against the answers of late.

        None: nothing speaks against it, or there is no contract because none is due.
        """
        found = short_window(contract, await self._ledger.ask(recent_latency)) if contract else None
        if found and found != self.refusal:
            _log.warning("%s", found)
        self.refusal = found
        return found

    async def promised(self, contract: ExperimentContract) -> ExperimentContract:
        """The contract of an experiment that opens now: where errors are controlled over experiments, its alpha follows from those before."""
        if contract.false_discovery_target is None:
            return contract
        history = [past.promoted for past in await self._ledger.ask(past_experiments)]
        return contract.model_copy(update={"alpha": next_alpha(history, contract.false_discovery_target)})

    async def look(self, experiment: Experiment, *, as_of: datetime, now: datetime) -> VerdictReached | ShareRaised | None:
        """The verdict, or the next share, or None to go on. Windows that ended by `as_of` count; `now` dates the event."""
        contract, name = experiment.opened.contract, experiment.opened.experiment_id
        challenger, control = await self._ledger.ask(
            self._closed_users.totals, experiment, as_of, self._grace_seconds, self._answer_seconds
        )
        self._late = name, (challenger.late, control.late)
        exposed = await self.exposed(name)
        is_final = experiment.share >= max(contract.ramp)
        elapsed = (as_of - experiment.opened.occurred_at).total_seconds()
        analysis = analyse(contract, challenger, control, exposed, elapsed, share_is_final=is_final)
        self.latest = (name, as_of, analysis)
        if analysis.verdict != "CONTINUE":
            return VerdictReached(
                event_id=derived_id(name, "VerdictReached"),
                occurred_at=now,
                experiment_id=name,
                verdict=analysis.verdict,
                as_of=as_of,
                stopped_by=analysis.stopped_by,
                estimates=analysis.estimates,
            )
        larger = [share for share in contract.ramp if share > experiment.share]
        stage = len([share for share in contract.ramp if share <= experiment.share])
        if larger and min(challenger.users, control.users) >= contract.ramp_users * stage:
            return ShareRaised(
                event_id=derived_id(name, "ShareRaised", f"{larger[0]:g}"), occurred_at=now, experiment_id=name, share=larger[0]
            )
        return None

    async def exposed(self, experiment_id: str) -> tuple[int, int]:
        """Users exposed so far: challenger, control."""
        return await self._ledger.ask(self._closed_users.exposed, experiment_id)

    async def in_both_arms(self, experiment_id: str) -> int:
        """Users who saw both arms and count nowhere."""
        return await self._ledger.ask(self._closed_users.in_both_arms, experiment_id)

    def late(self, experiment_id: str) -> tuple[int, int] | None:
        """Counted users with an answer that came after their window: challenger, control. None where this process has not looked at it."""
        return self._late[1] if self._late and self._late[0] == experiment_id else None

    def seen(self, experiment: Experiment) -> tuple[Verdict, str, datetime | None, tuple[ArmEstimate, ...]]:
        """(verdict, stopped_by, as_of, estimates) as the log or the last look has them."""
        verdict = experiment.verdict
        if verdict:
            return verdict.verdict, verdict.stopped_by, verdict.as_of, verdict.estimates
        if self.latest and self.latest[0] == experiment.opened.experiment_id:
            _, as_of, analysis = self.latest
            return analysis.verdict, analysis.stopped_by, as_of, analysis.estimates
        return "CONTINUE", "", None, ()
