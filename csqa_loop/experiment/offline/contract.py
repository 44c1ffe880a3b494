"""By which contract a table of users is judged: settings first, then options, then what the columns allow."""

from collections.abc import Mapping

from csqa_loop.errors import PermanentError
from csqa_loop.events import ExperimentContract, GuardrailContract, MetricContract
from csqa_loop.experiment.contract import contract_of
from csqa_loop.experiment.offline.tables import UserTable
from csqa_loop.settings import ExperimentSettings


def contract_for_table(
    settings: ExperimentSettings,
    table: UserTable,
    *,
    primary: str | None,
    margins: Mapping[str, float],
    alpha: float | None,
    burn_in: int | None,
    max_users: int | None,
) -> tuple[ExperimentContract, list[str]]:
    """The contract, and what was assumed or cannot be judged, in words.

    Raises:
        PermanentError: the primary metric or a metric with a margin has no columns, or is a quantile; or options contradict each other.
    """
    promised = contract_of(settings)
    declared = {metric.name: metric for metric in promised.metrics if metric.kind != "quantile"}
    chosen = primary or promised.primary
    for name in (chosen, *margins):
        if name not in table.metrics:
            raise PermanentError(
                f"metric {name!r} has no columns {name}_num and {name}_den in the file; it has {', '.join(table.metrics) or 'no metric'}"
            )
    if chosen in margins:
        raise PermanentError(
            f"--margin {chosen}={margins[chosen]:g}: {chosen} is the primary metric, which must get better; a margin is a guardrail's"
        )
    users, fewest = max_users or promised.max_users, burn_in or promised.burn_in_users
    if fewest > users:
        raise PermanentError(
            f"burn-in of {fewest} users an arm is more than max-users {users}: nothing could be promoted. Give --burn-in of at most {users}, "
            f"or --max-users of at least {fewest}"
        )
    notes = table.notes
    metrics: list[MetricContract] = []
    for name in table.metrics:
        metric = declared.get(name)
        if metric is None:
            metric = MetricContract(
                name=name, numerator=f"{name}_num", denominator=f"{name}_den", higher_is_better=name not in margins,
                kind="proportion" if table.looks_like_proportion(name) else "ratio",
            )  # fmt: skip
            way = "higher" if metric.higher_is_better else "lower"
            notes.append(f"{name} is not declared in the settings: read as a {metric.kind} of which {way} is better")
        metrics.append(metric)
    wanted = {guardrail.metric: guardrail.margin for guardrail in promised.guardrails if guardrail.metric != chosen} | dict(margins)
    if unjudged := [name for name in wanted if name not in table.metrics]:
        notes.append(f"not judged, for the file has no columns of them: {', '.join(unjudged)}")
    changes: dict[str, object] = {
        "primary": chosen,
        "metrics": tuple(metrics),
        "guardrails": tuple(
            GuardrailContract(metric=name, margin=value) for name, value in wanted.items() if name in table.metrics and name != chosen
        ),
        "alpha": alpha or promised.alpha,
        "max_users": users,
        "burn_in_users": fewest,
    }
    return promised.model_copy(update=changes), notes
