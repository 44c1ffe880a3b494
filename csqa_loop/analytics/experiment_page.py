"""An experiment for people: one HTML page of its status in the console."""

from csqa_loop.analytics import plots
from csqa_loop.analytics.html_page import Figure, Page, PageSection, PageTable
from csqa_loop.events import MetricContract
from csqa_loop.experiment.status import ExperimentStatus
from csqa_loop.settings.metrics import SHIPPED

_GOOD = {"PROMOTE": True, "ROLL_BACK": False, "INVALID": False}


def experiment_report(status: ExperimentStatus) -> Page:
    """Verdict, arms, every metric with its bounds, and who is left out."""
    return Page(
        title=f"Experiment {status.id}",
        verdict=f"{status.verdict}: {status.stopped_by or 'not looked at yet'}",
        good=_GOOD.get(status.verdict),
        facts={
            "run": status.run_id,
            "champion": status.champion,
            "challenger": status.challenger,
            "share in the experiment": f"{status.share:.0%}",
            "alpha": f"{status.alpha:.4g}",
            "as of": status.as_of or "not looked at yet",
        },
        sections=(_arms(status), *_metrics(status)),
    )


def _arms(status: ExperimentStatus) -> PageSection:
    rows = (
        ("challenger", status.challenger, status.exposed.challenger, status.n.challenger),
        ("control", status.champion, status.exposed.control, status.n.control),
    )
    excluded = status.excluded.seen_in_both_arms
    text = f"A user counts once, when the time after the first question is over. Left out: {excluded:,} users who saw both arms."
    return PageSection("Arms", text, tables=(PageTable(("arm", "adapter", "users exposed", "users counted"), rows),))


def _metrics(status: ExperimentStatus) -> tuple[PageSection, ...]:
    if not status.estimates:
        return ()
    contract = status.contract
    # Contracts from before metrics were declared mean the shipped ones.
    declared = {metric.name: metric for metric in contract.metrics or SHIPPED.values()}
    margins = {guardrail.metric: guardrail.margin for guardrail in contract.guardrails}

    def role(metric: str) -> str:
        if metric == contract.primary:
            return "primary"
        return f"guardrail, may lose {margins[metric]:g}" if metric in margins else "reported"

    rows = tuple((row.metric, role(row.metric), row.arm, row.users, row.estimate, row.lower, row.upper) for row in status.estimates)
    table = PageTable(("metric", "role", "arm", "users", "estimate", "lower", "upper"), rows)
    drawn = [
        plots.Range(
            row.metric,
            row.estimate,
            row.lower,
            row.upper,
            _limit(margins.get(row.metric), declared.get(row.metric)),
            declared[row.metric].unit.strip() if row.metric in declared else "",
        )
        for row in status.estimates
        if row.arm == "difference" and row.estimate is not None
    ]
    caption = "Challenger minus control with bounds; the grey line is no difference, a dashed one what a guardrail may lose"
    figures = (Figure(plots.ranges(drawn, title="Challenger minus control"), caption),) if drawn else ()
    text = "Bounds hold at every look. Promoted is what has the primary's lower bound above zero and every guardrail within its margin."
    return (PageSection("Metrics", text, tables=(table,), figures=figures),)


def _limit(margin: float | None, declared: MetricContract | None) -> float | None:
    """Where the difference would have lost the margin; None where there is none, or the contract does not tell which side is worse."""
    if margin is None or declared is None:
        return None
    return -margin if declared.higher_is_better else margin
