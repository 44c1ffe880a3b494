"""Opening an experiment by contract, looking at it, and saying what was seen."""

from datetime import datetime

from csqa_loop.cycle.ports import LedgerReader
from csqa_loop.domain.error_control import next_alpha
from csqa_loop.domain.errors import ConfigurationError
from csqa_loop.domain.events import (
    ArmEstimate,
    ExperimentContract,
    ExperimentOpened,
    GuardrailContract,
    ShareRaised,
    Verdict,
    VerdictReached,
    derived_id,
)
from csqa_loop.domain.experiment import Analysis, analyse
from csqa_loop.domain.feasibility import impossible_margins
from csqa_loop.domain.metrics import SHIPPED
from csqa_loop.domain.rollout import Experiment, OpenExperiment, experiment_id
from csqa_loop.settings import ExperimentSettings


def contract_of(settings: ExperimentSettings) -> ExperimentContract:
    """The promise, fixed when the experiment opens. With online-fdr its alpha is the target until then: see `Examiner.promised`.

    Raises:
        ConfigurationError: a guardrail's margin could not be shown to hold even if nothing went wrong; says what would be right.
    """
    declared = {metric.name: metric.declared() for metric in settings.metrics}
    margins = {
        "handoff": settings.handoff_margin,
        "error": settings.error_margin,
        "latency": settings.latency_margin_ms,
        "rating": settings.rating_margin,
        "unanswered": settings.unanswered_margin,
        "answer_length": settings.answer_length_margin,
    }
    guardrails = {name: margin for name, margin in margins.items() if name not in declared}
    guardrails |= {metric.name: metric.margin for metric in settings.metrics if metric.margin is not None}
    guardrails.pop(settings.primary, None)
    online = settings.error_control == "online-fdr"
    contract = ExperimentContract(
        primary=settings.primary,
        guardrails=tuple(GuardrailContract(metric=name, margin=margin) for name, margin in guardrails.items()),
        alpha=settings.alpha,
        window_seconds=settings.window_seconds,
        burn_in_users=settings.burn_in_users,
        max_users=settings.max_users,
        max_seconds=settings.max_seconds,
        ramp=settings.ramp,
        ramp_users=settings.ramp_users,
        metrics=tuple({**SHIPPED, **declared}.values()),
        false_discovery_target=settings.alpha if online else None,
    )
    first = contract.model_copy(update={"alpha": next_alpha((), settings.alpha)}) if online else contract
    if problems := list(impossible_margins(first)):
        raise ConfigurationError(f"CSQA_EXPERIMENT cannot be fulfilled: {'; '.join(problems)}")
    return contract


def opened(step: OpenExperiment, attempt: int, contract: ExperimentContract, now: datetime) -> ExperimentOpened:
    """The event; the salt is the experiment's own, so arms are independent between experiments."""
    name = experiment_id(step.run_id, attempt)
    return ExperimentOpened(
        event_id=derived_id(name, "ExperimentOpened"),
        occurred_at=now,
        experiment_id=name,
        run_id=step.run_id,
        champion=step.champion,
        challenger=step.challenger,
        salt=name,
        share=contract.ramp[0],
        contract=contract,
    )


class Examiner:
    """Looks at an open experiment as often as it likes: the bounds are valid at every look."""

    def __init__(self, ledger: LedgerReader, grace_seconds: float) -> None:
        self._ledger = ledger
        self._grace_seconds = grace_seconds
        self.latest: tuple[str, datetime, Analysis] | None = None
        """(experiment, as_of, analysis) of the last look, for people."""

    async def promised(self, contract: ExperimentContract) -> ExperimentContract:
        """The contract of an experiment that opens now: where errors are controlled over experiments, its alpha follows from those before."""
        if contract.false_discovery_target is None:
            return contract
        history = [past.promoted for past in await self._ledger.past_experiments()]
        return contract.model_copy(update={"alpha": next_alpha(history, contract.false_discovery_target)})

    async def look(self, experiment: Experiment, *, as_of: datetime, now: datetime) -> VerdictReached | ShareRaised | None:
        """The verdict, or the next share, or None to go on. Windows that ended by `as_of` count; `now` dates the event."""
        contract, name = experiment.opened.contract, experiment.opened.experiment_id
        challenger, control = await self._ledger.totals(experiment, as_of, self._grace_seconds)
        exposed = await self._ledger.exposed(name)
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

    def seen(self, experiment: Experiment) -> tuple[Verdict, str, datetime | None, tuple[ArmEstimate, ...]]:
        """(verdict, stopped_by, as_of, estimates) as the log or the last look has them."""
        verdict = experiment.verdict
        if verdict:
            return verdict.verdict, verdict.stopped_by, verdict.as_of, verdict.estimates
        if self.latest and self.latest[0] == experiment.opened.experiment_id:
            _, as_of, analysis = self.latest
            return analysis.verdict, analysis.stopped_by, as_of, analysis.estimates
        return "CONTINUE", "", None, ()
