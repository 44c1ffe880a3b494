"""The promotion contract, as settings promise it."""

from csqa_loop.errors import ConfigurationError
from csqa_loop.events import ExperimentContract, GuardrailContract
from csqa_loop.experiment.rules.error_control import next_alpha
from csqa_loop.experiment.rules.feasibility import impossible_margins
from csqa_loop.settings import ExperimentSettings
from csqa_loop.settings.metrics import SHIPPED


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
