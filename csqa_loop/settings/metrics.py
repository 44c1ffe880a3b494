"""What an experiment can count, and the metrics that come with it. A metric is declared, never programmed."""

from collections.abc import Mapping

from csqa_loop.events import MetricContract

COUNTS: Mapping[str, str] = {
    "users": "1 for every user",
    "exposures": "questions for which an arm was chosen",
    "answers": "of those, answered",
    "late_answers": "answers that came after the window, within the time that an answer may take",
    "errors": "of the questions, never answered",
    "conversations": "conversations in which the user asked",
    "resolved_conversations": "of those, without handoff, error, thumbs-down and repeated question",
    "ups": "answers rated up",
    "downs": "answers rated down",
    "thumbs": "answers rated",
    "handoffs": "answers that handed over to a person",
    "unanswered": "answers that say that no policy covers the question",
    "latency_ms": "milliseconds until the answers, summed",
    "answer_characters": "characters of the answers, summed",
    "completion_tokens": "tokens of the answers, summed",
}
"""What the ledger knows of one user within their attribution window."""

_PARTS: Mapping[str, frozenset[str]] = {
    "exposures": frozenset({"answers", "errors"}),
    "answers": frozenset({"ups", "downs", "thumbs", "handoffs", "unanswered", "late_answers"}),
    "thumbs": frozenset({"ups", "downs"}),
    "conversations": frozenset({"resolved_conversations"}),
}
"""Denominator -> numerators that are a part of it: only these make a proportion."""

SHIPPED: Mapping[str, MetricContract] = {
    metric.name: metric
    for metric in (
        MetricContract(name="satisfaction", numerator="ups", denominator="thumbs", higher_is_better=True, kind="proportion"),
        MetricContract(name="rating", numerator="thumbs", denominator="answers", higher_is_better=True, kind="proportion"),
        MetricContract(name="handoff", numerator="handoffs", denominator="answers", higher_is_better=False, kind="proportion"),
        MetricContract(name="error", numerator="errors", denominator="exposures", higher_is_better=False, kind="proportion"),
        MetricContract(name="unanswered", numerator="unanswered", denominator="answers", higher_is_better=False, kind="proportion"),
        MetricContract(name="latency", numerator="latency_ms", denominator="answers", higher_is_better=False, kind="ratio", unit=" ms"),
        MetricContract(
            name="answer_length",
            numerator="answer_characters",
            denominator="answers",
            higher_is_better=False,
            kind="ratio",
            unit=" characters",
        ),
        MetricContract(
            name="resolution", numerator="resolved_conversations", denominator="conversations", higher_is_better=True, kind="proportion"
        ),
        MetricContract(
            name="latency_p95",
            numerator="latency_ms",
            denominator="answers",
            higher_is_better=False,
            kind="quantile",
            quantile=0.95,
            unit=" ms",
        ),
        MetricContract(name="turns", numerator="exposures", denominator="conversations", higher_is_better=False, kind="ratio"),
    )
}


def fault(metric: MetricContract) -> str | None:
    """What is wrong with a declaration and what would be right; None where it can be counted."""
    for name in (metric.numerator, metric.denominator):
        if name not in COUNTS:
            return f"metric {metric.name!r} counts {name!r}, which nobody records; use one of {', '.join(COUNTS)}"
    if metric.kind == "mean" and metric.denominator != "users":
        return f"metric {metric.name!r} is a mean over users, so its denominator is 'users', not {metric.denominator!r}; or make it a ratio"
    if metric.kind == "proportion" and metric.numerator not in _PARTS.get(metric.denominator, frozenset()):
        wholes = [whole for whole, parts in _PARTS.items() if metric.numerator in parts]
        right = f"divide by {' or '.join(wholes)}, or make it a ratio" if wholes else "make it a ratio"
        return f"metric {metric.name!r} is a proportion, and {metric.numerator!r} is no part of {metric.denominator!r}; {right}"
    if (metric.quantile is not None) != (metric.kind == "quantile"):
        return f"metric {metric.name!r}: `quantile`, between 0 and 1, belongs to kind 'quantile' and to no other"
    return None
