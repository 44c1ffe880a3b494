"""What the ledger knows of experiments: sums over closed users, exposures, and what became of earlier ones."""

from datetime import datetime, timedelta
from typing import Any, Literal

import duckdb

from csqa_loop.domain.error_control import PastExperiment
from csqa_loop.domain.events import MetricContract
from csqa_loop.domain.experiment import ArmTotals, MetricTotals, Quantile, definitions
from csqa_loop.domain.metrics import COUNTS
from csqa_loop.domain.rollout import Experiment

Connection = duckdb.DuckDBPyConnection

# One row a message and arm: a second exposure of a message is a repetition, its first answer and its last thumb count. A question that the same
# user asks again in the same words within the window was not resolved the first time.
_USERS = """
WITH seen AS (
    SELECT "user", message_id, min(conversation_id) AS conversation_id, arm, min(occurred_at) AS occurred_at FROM exposures
    WHERE experiment = $experiment AND arm IN ('challenger', 'control') GROUP BY "user", message_id, arm
), entered AS (
    SELECT "user", min(occurred_at) AS entered_at, min(arm) AS arm FROM seen GROUP BY "user" HAVING min(arm) = max(arm)
), shown AS (
    SELECT s."user", s.arm, s.message_id, s.conversation_id, e.entered_at FROM seen s JOIN entered e USING ("user")
    WHERE e.entered_at <= $closed_before AND s.occurred_at <= e.entered_at + to_microseconds($window_us)
), told AS (
    SELECT message_id, arg_min({handoff: handoff, covered: covered, latency_ms: latency_ms, characters: length(answer), tokens: completion_tokens,
        question: lower(trim(question))}, (occurred_at, event_id)) AS a
    FROM answers WHERE experiment = $experiment GROUP BY message_id
), rated AS (
    SELECT f.message_id, arg_max(f.thumb, (f.occurred_at, f.event_id)) AS thumb FROM feedback f JOIN shown s USING (message_id)
    WHERE f.occurred_at <= s.entered_at + to_microseconds($window_us) GROUP BY f.message_id
), messages AS (
    SELECT s.arm, s."user", s.conversation_id, t.a AS a, t.message_id IS NOT NULL AS answered, r.thumb AS thumb,
        t.a.question IS NOT NULL AND count(*) OVER (PARTITION BY s."user", t.a.question) > 1 AS repeated
    FROM shown s LEFT JOIN told t USING (message_id) LEFT JOIN rated r USING (message_id)
), conversations AS (
    SELECT arm, "user", conversation_id, count(*) AS exposures, count(*) FILTER (answered) AS answers, count(*) FILTER (thumb = 'up') AS ups,
        count(*) FILTER (thumb = 'down') AS downs, count(*) FILTER (a.handoff) AS handoffs, count(*) FILTER (NOT a.covered) AS unanswered, sum(a.latency_ms) AS latency_ms,
        sum(a.characters) AS answer_characters, sum(a.tokens) AS completion_tokens,
        bool_and(answered AND NOT a.handoff AND NOT repeated) AND count(*) FILTER (thumb = 'down') = 0 AS resolved
    FROM messages GROUP BY ALL
), counted AS (
    SELECT arm, "user", 1.0 AS users, sum(exposures)::DOUBLE AS exposures, sum(answers)::DOUBLE AS answers, sum(exposures - answers)::DOUBLE AS errors,
        count(*)::DOUBLE AS conversations, count(*) FILTER (resolved)::DOUBLE AS resolved_conversations, sum(ups)::DOUBLE AS ups, sum(downs)::DOUBLE AS downs,
        sum(ups + downs)::DOUBLE AS thumbs, sum(handoffs)::DOUBLE AS handoffs, sum(unanswered)::DOUBLE AS unanswered,
        coalesce(sum(latency_ms), 0)::DOUBLE AS latency_ms, coalesce(sum(answer_characters), 0)::DOUBLE AS answer_characters,
        coalesce(sum(completion_tokens), 0)::DOUBLE AS completion_tokens
    FROM conversations GROUP BY ALL
)
"""


def arm_totals(connection: Connection, experiment: Experiment, as_of: datetime, grace_seconds: float) -> tuple[ArmTotals, ArmTotals]:
    """Sums over closed users, challenger then control. A user counts once, in the one arm they were seen in; seen in both, nowhere."""
    contract = experiment.opened.contract
    window = timedelta(seconds=contract.window_seconds)
    # Older contracts may name counts that nobody records any more; those metrics have no data.
    metrics = [metric for metric in definitions(contract).values() if {metric.numerator, metric.denominator} <= COUNTS.keys()]
    sums = ", ".join(_sums(metric) for metric in metrics)
    rows = connection.execute(
        f"{_USERS} SELECT arm, count(*), {sums} FROM counted GROUP BY arm",  # noqa: S608 - names of counts are ours
        {
            "experiment": experiment.opened.experiment_id,
            "closed_before": as_of - window - timedelta(seconds=grace_seconds),
            "window_us": int(window / timedelta(microseconds=1)),
        },
    ).fetchall()
    found = {row[0]: row for row in rows}
    return _arm("challenger", metrics, found.get("challenger")), _arm("control", metrics, found.get("control"))


def _sums(metric: MetricContract) -> str:
    n, d = metric.numerator, metric.denominator
    if metric.kind == "quantile":
        return f"[count(*) FILTER ({d} > 0), quantile_cont({n} / {d}, {metric.quantile}) FILTER ({d} > 0)]"
    return f"[count(*) FILTER ({d} > 0), sum({n}) FILTER ({d} > 0), sum({d}), sum({n} * {n}) FILTER ({d} > 0), sum({d} * {d}), sum({n} * {d})]::DOUBLE[]"


def _arm(arm: Literal["challenger", "control"], metrics: list[MetricContract], row: tuple[Any, ...] | None) -> ArmTotals:
    if row is None:
        return ArmTotals(arm, 0, {})
    totals: dict[str, MetricTotals] = {}
    quantiles: dict[str, Quantile] = {}
    for metric, values in zip(metrics, row[2:], strict=True):
        users = int(values[0])
        if not users:
            continue
        if metric.kind == "quantile":
            quantiles[metric.name] = Quantile(users, float(values[1]))
        else:
            totals[metric.name] = MetricTotals(users, *values[1:])
    return ArmTotals(arm, int(row[1]), totals, quantiles)


def exposed_users(connection: Connection, experiment_id: str) -> tuple[int, int]:
    """Distinct users first seen in the challenger's arm and in the control arm, closed or not."""
    rows = dict(
        connection.execute(
            'SELECT arm, count(*) FROM (SELECT "user", arg_min(arm, occurred_at) AS arm FROM exposures '
            "WHERE experiment = ? AND arm IN ('challenger', 'control') GROUP BY \"user\") GROUP BY arm",
            [experiment_id],
        ).fetchall()
    )
    return int(rows.get("challenger", 0)), int(rows.get("control", 0))


def users_in_both_arms(connection: Connection, experiment_id: str) -> int:
    """Users who saw both arms and are therefore left out of every sum."""
    row = connection.execute(
        "SELECT count(*) FROM (SELECT \"user\" FROM exposures WHERE experiment = ? AND arm IN ('challenger', 'control') "
        'GROUP BY "user" HAVING min(arm) < max(arm))',
        [experiment_id],
    ).fetchone()
    return int(row[0]) if row else 0


def past_experiments(connection: Connection) -> list[PastExperiment]:
    """Every experiment that was ever opened, oldest first."""
    rows = connection.execute(
        """
        SELECT o.alpha, coalesce(v.promoted, false) FROM (
            SELECT experiment_id, arg_min((body -> 'contract' ->> 'alpha')::DOUBLE, (occurred_at, event_id)) AS alpha, min(occurred_at) AS opened_at
            FROM decisions WHERE type = 'ExperimentOpened' GROUP BY experiment_id
        ) o LEFT JOIN (
            SELECT experiment_id, arg_min(body ->> 'verdict', (occurred_at, event_id)) = 'PROMOTE' AS promoted
            FROM decisions WHERE type = 'VerdictReached' GROUP BY experiment_id
        ) v USING (experiment_id) ORDER BY o.opened_at, o.experiment_id
        """
    ).fetchall()
    return [PastExperiment(alpha, promoted) for alpha, promoted in rows]
