"""What the ledger knows of experiments: sums over closed users, exposures, and what became of earlier ones."""

from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Literal

import duckdb

from csqa_loop.domain.error_control import PastExperiment
from csqa_loop.domain.events import MetricContract
from csqa_loop.domain.experiment import ArmTotals, MetricTotals, Quantile, definitions
from csqa_loop.domain.metrics import COUNTS
from csqa_loop.domain.rollout import Experiment

Connection = duckdb.DuckDBPyConnection

# One row a message and arm: a second exposure of a message is a repetition, its first answer and its last thumb count. A question that the same
# user asks again in the same words within the window was not resolved the first time. Facts up to $after belong to users who are known already.
_CLOSED = """
WITH seen AS (
    SELECT "user", message_id, min(conversation_id) AS conversation_id, arm, min(occurred_at) AS occurred_at FROM exposures
    WHERE experiment = $experiment AND arm IN ('challenger', 'control') AND occurred_at > $after GROUP BY "user", message_id, arm
), entered AS (
    SELECT "user", min(occurred_at) AS entered_at, min(arm) AS arm, max(arm) AS other_arm, arg_min(arm, occurred_at) AS first_arm FROM seen GROUP BY "user"
    HAVING min(occurred_at) <= $closed_before
), shown AS (
    SELECT s."user", s.message_id, s.conversation_id, e.entered_at FROM seen s JOIN entered e USING ("user")
    WHERE e.arm = e.other_arm AND s.occurred_at <= e.entered_at + to_microseconds($window_us)
), told AS (
    SELECT message_id, handoff, covered, latency_ms, length(answer) AS characters, completion_tokens, hash(lower(trim(question))) AS question FROM answers
    WHERE experiment = $experiment AND occurred_at > $after
    QUALIFY row_number() OVER (PARTITION BY message_id ORDER BY occurred_at, event_id) = 1
), rated AS (
    SELECT f.message_id, arg_max(f.thumb, (f.occurred_at, f.event_id)) AS thumb FROM feedback f JOIN shown s USING (message_id)
    WHERE f.occurred_at > $after AND f.occurred_at <= s.entered_at + to_microseconds($window_us) GROUP BY f.message_id
), messages AS (
    SELECT s."user", s.conversation_id, t.message_id IS NOT NULL AS answered, t.handoff, t.covered, t.latency_ms, t.characters, t.completion_tokens,
        r.thumb, t.question IS NOT NULL AND count(*) OVER (PARTITION BY s."user", t.question) > 1 AS repeated
    FROM shown s LEFT JOIN told t USING (message_id) LEFT JOIN rated r USING (message_id)
), conversations AS (
    SELECT "user", conversation_id, count(*) AS exposures, count(*) FILTER (answered) AS answers, count(*) FILTER (thumb = 'up') AS ups,
        count(*) FILTER (thumb = 'down') AS downs, count(*) FILTER (handoff) AS handoffs, count(*) FILTER (NOT covered) AS unanswered,
        sum(latency_ms) AS latency_ms, sum(characters) AS answer_characters, sum(completion_tokens) AS completion_tokens,
        bool_and(answered AND NOT handoff AND NOT repeated) AND count(*) FILTER (thumb = 'down') = 0 AS resolved
    FROM messages GROUP BY ALL
), counted AS (
    SELECT "user", 1.0 AS users, sum(exposures)::DOUBLE AS exposures, sum(answers)::DOUBLE AS answers, sum(exposures - answers)::DOUBLE AS errors,
        count(*)::DOUBLE AS conversations, (count(*) FILTER (resolved))::DOUBLE AS resolved_conversations, sum(ups)::DOUBLE AS ups,
        sum(downs)::DOUBLE AS downs, sum(ups + downs)::DOUBLE AS thumbs, sum(handoffs)::DOUBLE AS handoffs, sum(unanswered)::DOUBLE AS unanswered,
        coalesce(sum(latency_ms), 0)::DOUBLE AS latency_ms, coalesce(sum(answer_characters), 0)::DOUBLE AS answer_characters,
        coalesce(sum(completion_tokens), 0)::DOUBLE AS completion_tokens
    FROM conversations GROUP BY ALL
)
SELECT e."user", e.first_arm, CASE WHEN e.arm = e.other_arm THEN e.arm END AS arm, c.* EXCLUDE ("user")
FROM entered e LEFT JOIN counted c USING ("user")
"""
_OPEN = """
SELECT "user", arg_min(arm, occurred_at) AS first_arm, min(arm) < max(arm) AS crossed FROM exposures
WHERE experiment = $experiment AND arm IN ('challenger', 'control') AND occurred_at > $after GROUP BY "user"
"""
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


class ClosedUsers:
    """One experiment's closed users, a row each, so that a look reads what came since the last one and not the whole experiment again.

    What a user did in their window no longer changes once it closed: facts that arrive later count from the next start of the process at
    the earliest. Looks may come from any thread, one at a time.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._forget("")

    def _forget(self, experiment_id: str) -> None:
        self._experiment, self._until = experiment_id, _EVER
        self._users = duckdb.connect()
        counts = ", ".join(f"{name} DOUBLE" for name in COUNTS)
        self._users.execute(f'CREATE TABLE closed ("user" VARCHAR, first_arm VARCHAR, arm VARCHAR, {counts})')

    def totals(self, connection: Connection, experiment: Experiment, as_of: datetime, grace_seconds: float) -> tuple[ArmTotals, ArmTotals]:
        """Sums over closed users, challenger then control. A user counts once, in the one arm they were seen in; seen in both, nowhere."""
        contract = experiment.opened.contract
        window = timedelta(seconds=contract.window_seconds)
        with self._lock:
            until = as_of - window - timedelta(seconds=grace_seconds)
            if experiment.opened.experiment_id != self._experiment or until < self._until:
                self._forget(experiment.opened.experiment_id)
            self._take(connection, until, window)
            # Older contracts may name counts that nobody records any more; those metrics have no data.
            metrics = [metric for metric in definitions(contract).values() if {metric.numerator, metric.denominator} <= COUNTS.keys()]
            sums = ", ".join(_sums(metric) for metric in metrics)
            rows = self._users.execute(
                f"SELECT arm, count(*), {sums} FROM closed WHERE arm IS NOT NULL GROUP BY arm"  # noqa: S608 - names of counts are ours
            ).fetchall()
        found = {row[0]: row for row in rows}
        return _arm("challenger", metrics, found.get("challenger")), _arm("control", metrics, found.get("control"))

    def _take(self, connection: Connection, until: datetime, window: timedelta) -> None:
        """Add the users whose window closed since the last look; whoever turns up again in the other arm counts nowhere from now on."""
        parameters = {
            "experiment": self._experiment,
            "after": self._until,
            "closed_before": until,
            "window_us": int(window / timedelta(microseconds=1)),
        }
        fresh = connection.execute(_CLOSED, parameters).to_arrow_table()
        self._users.register("fresh", fresh)
        self._users.execute(
            'UPDATE closed SET arm = NULL FROM fresh f WHERE closed."user" = f."user" AND f.arm IS DISTINCT FROM closed.arm'
        )
        self._users.execute('INSERT INTO closed BY NAME SELECT * FROM fresh ANTI JOIN closed USING ("user")')
        self._users.unregister("fresh")
        self._until = max(until, _EVER)

    def exposed(self, connection: Connection, experiment_id: str) -> tuple[int, int]:
        """Distinct users first seen in the challenger's arm and in the control arm, closed or not."""
        return self._exposed(connection, experiment_id)[:2]

    def in_both_arms(self, connection: Connection, experiment_id: str) -> int:
        """Users who saw both arms and are therefore left out of every sum."""
        return self._exposed(connection, experiment_id)[2]

    def _exposed(self, connection: Connection, experiment_id: str) -> tuple[int, int, int]:
        with self._lock:
            known = experiment_id == self._experiment
            still_open = connection.execute(_OPEN, {"experiment": experiment_id, "after": self._until if known else _EVER}).to_arrow_table()
            self._users.register("still_open", still_open)
            row = self._users.execute(
                """
                SELECT count(*) FILTER (first_arm = 'challenger'), count(*) FILTER (first_arm = 'control'), count(*) FILTER (crossed) FROM (
                    SELECT coalesce(c.first_arm, o.first_arm) AS first_arm,
                        CASE WHEN c."user" IS NULL THEN o.crossed ELSE c.arm IS NULL OR coalesce(o.crossed OR o.first_arm <> c.arm, false) END AS crossed
                    FROM (SELECT * FROM closed WHERE $known) c FULL JOIN still_open o USING ("user"))
                """,
                {"known": known},
            ).fetchone()
            self._users.unregister("still_open")
        challenger, control, both = row or (0, 0, 0)
        return int(challenger), int(control), int(both)


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
