"""What the ledger knows of experiments: sums over closed users, exposures, and what became of earlier ones."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Literal

import duckdb

from csqa_loop.events import MetricContract
from csqa_loop.experiment.rules.comparison import ArmTotals, Quantile, definitions
from csqa_loop.experiment.rules.error_control import PastExperiment
from csqa_loop.experiment.rules.experiments import Experiment
from csqa_loop.experiment.rules.statistics import MetricTotals
from csqa_loop.ledger.connection import Connection
from csqa_loop.settings.metrics import COUNTS

# A second exposure of a message is a repetition; its first answer and its last thumb count. An answer counts if it came while it was
# waited for: within the window, or the time that an answer may take; so what a user counts for is the same at every later look. A question that the same
# user asks again in the same words within the window was not resolved the first time. Facts up to $after belong to users who are known already.
# By the log's time: a gateway whose clock is wrong would put its users into other windows than those in which they came. `due` keeps a later look from grouping every user whose window is still open.
_CLOSED = """
WITH due AS (
    SELECT DISTINCT "user" FROM exposures
    WHERE experiment = $experiment AND arm IN ('challenger', 'control') AND recorded_at > $after AND recorded_at <= $closed_before
), entered AS (
    SELECT "user", min(recorded_at) AS entered_at, min(arm) AS arm, max(arm) AS other_arm, arg_min(arm, recorded_at) AS first_arm
    FROM exposures SEMI JOIN due USING ("user")
    WHERE experiment = $experiment AND arm IN ('challenger', 'control') AND recorded_at > $after GROUP BY "user"
), shown AS (
    SELECT x."user", x.message_id, min(x.conversation_id) AS conversation_id, min(e.entered_at) + to_microseconds($window_us) AS window_end,
        max(x.recorded_at) + to_microseconds($answer_us) AS answer_due FROM exposures x JOIN entered e USING ("user")
    WHERE x.experiment = $experiment AND x.arm = e.arm AND x.arm = e.other_arm AND x.recorded_at > $after
        AND x.recorded_at <= e.entered_at + to_microseconds($window_us) GROUP BY x."user", x.message_id
), told AS (
    SELECT message_id, recorded_at AS told_at, handoff, covered, latency_ms, length(answer) AS characters, completion_tokens, hash(lower(trim(question))) AS question
    FROM answers SEMI JOIN shown USING (message_id) WHERE experiment = $experiment AND recorded_at > $after
    QUALIFY is_first_answer(message_id, occurred_at, event_id)
), rated AS (
    SELECT f.message_id, f.thumb FROM feedback f JOIN shown s USING (message_id)
    WHERE f.recorded_at > $after AND f.recorded_at <= s.window_end
    QUALIFY is_last_thumb(f.message_id, f.epoch, f."offset", f.event_id)
), messages AS (
    SELECT s."user", s.conversation_id, t.message_id IS NOT NULL AS answered, t.handoff, t.covered, t.latency_ms, t.characters, t.completion_tokens,
        r.thumb, t.told_at > s.window_end AS late, t.question IS NOT NULL AND count(*) OVER (PARTITION BY s."user", t.question) > 1 AS repeated
    FROM shown s LEFT JOIN told t ON t.message_id = s.message_id AND t.told_at <= greatest(s.window_end, s.answer_due) + to_microseconds($grace_us)
    LEFT JOIN rated r ON r.message_id = s.message_id
), conversations AS (
    SELECT "user", conversation_id, count(*) AS exposures, count(*) FILTER (answered) AS answers, count(*) FILTER (late) AS late_answers,
        count(*) FILTER (thumb = 'up') AS ups,
        count(*) FILTER (thumb = 'down') AS downs, count(*) FILTER (handoff) AS handoffs, count(*) FILTER (NOT covered) AS unanswered,
        sum(latency_ms) AS latency_ms, sum(characters) AS answer_characters, sum(completion_tokens) AS completion_tokens,
        bool_and(answered AND NOT handoff AND NOT repeated) AND count(*) FILTER (thumb = 'down') = 0 AS resolved
    FROM messages GROUP BY ALL
), counted AS (
    SELECT "user", 1.0 AS users, sum(exposures)::DOUBLE AS exposures, sum(answers)::DOUBLE AS answers, sum(late_answers)::DOUBLE AS late_answers,
        sum(exposures - answers)::DOUBLE AS errors,
        count(*)::DOUBLE AS conversations, (count(*) FILTER (resolved))::DOUBLE AS resolved_conversations, sum(ups)::DOUBLE AS ups,
        sum(downs)::DOUBLE AS downs, sum(ups + downs)::DOUBLE AS thumbs, sum(handoffs)::DOUBLE AS handoffs, sum(unanswered)::DOUBLE AS unanswered,
        coalesce(sum(latency_ms), 0)::DOUBLE AS latency_ms, coalesce(sum(answer_characters), 0)::DOUBLE AS answer_characters,
        coalesce(sum(completion_tokens), 0)::DOUBLE AS completion_tokens
    FROM conversations GROUP BY ALL
)
SELECT e."user", e.first_arm, CASE WHEN e.arm = e.other_arm THEN e.arm END AS arm, c.* EXCLUDE ("user")
FROM entered e LEFT JOIN counted c USING ("user")
"""
# Users whose window is over while an answer to a question in it is still on its way.
_WAITED_FOR = """
WITH asked AS (
    SELECT x."user", x.recorded_at FROM exposures x
    ANTI JOIN (SELECT message_id FROM answers WHERE experiment = $experiment AND recorded_at > $asked_after) a ON a.message_id = x.message_id
    WHERE x.experiment = $experiment AND x.arm IN ('challenger', 'control') AND x.recorded_at > $asked_after
), entered AS (
    SELECT "user", min(recorded_at) AS entered_at FROM exposures SEMI JOIN asked USING ("user")
    WHERE experiment = $experiment AND arm IN ('challenger', 'control') AND recorded_at > $after AND recorded_at <= $closed_before GROUP BY "user"
)
SELECT "user", min(e.entered_at) AS entered_at FROM entered e JOIN asked a USING ("user")
WHERE a.recorded_at <= e.entered_at + to_microseconds($window_us) GROUP BY "user"
"""
_OPEN = """
SELECT "user", arg_min(arm, recorded_at) AS first_arm, min(arm) < max(arm) AS crossed FROM exposures
WHERE experiment = $experiment AND arm IN ('challenger', 'control') AND recorded_at > $after GROUP BY "user"
"""
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class ClosedUsers:
    """One experiment's closed users, a row each, so that a look reads what came since the last one and not the whole experiment again.

    Users are taken in the order in which they entered, and what one counts for no longer changes then: whoever still waits for an answer
    is waited for, and everybody behind them too. So every look sees the first so many users, whatever became of them, and never those
    alone whose answers were quick. Facts that reach the log after that count from the next start of the process at the earliest.
    Looks may come from any thread, one at a time.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._forget("")

    def _forget(self, experiment_id: str) -> None:
        self._experiment, self._until, self._look = experiment_id, _EVER, 0
        self._sums: dict[str, list[list[float]]] = {}
        self._entered, self._in_both = {"challenger": 0, "control": 0}, 0
        self._users = duckdb.connect()
        counts = ", ".join(f"{name} DOUBLE" for name in COUNTS)
        self._users.execute(f'CREATE TABLE closed ("user" VARCHAR, first_arm VARCHAR, arm VARCHAR, look INTEGER, {counts})')

    def totals(
        self, connection: Connection, experiment: Experiment, as_of: datetime, grace_seconds: float, answer_seconds: float = 0.0
    ) -> tuple[ArmTotals, ArmTotals]:
        """Sums over closed users, challenger then control. A user counts once, in the one arm they were seen in; seen in both, nowhere.

        Args:
            connection: The ledger.
            experiment: Whose users.
            as_of: The log is taken up to this moment.
            grace_seconds: How long facts may be on their way to the log.
            answer_seconds: How long an answer may take; a question in the window that has none by then, nor by the window's end, is an error.
        """
        contract = experiment.opened.contract
        window, grace, answer = (timedelta(seconds=value) for value in (contract.window_seconds, grace_seconds, answer_seconds))
        with self._lock:
            until = as_of - window - grace
            if experiment.opened.experiment_id != self._experiment or until < self._until:
                self._forget(experiment.opened.experiment_id)
            # Older contracts may name counts that nobody records any more; those metrics have no data.
            metrics = [metric for metric in definitions(contract).values() if {metric.numerator, metric.denominator} <= COUNTS.keys()]
            until = self._before_waiting(connection, until, window, asked_after=as_of - answer - grace)
            parameters = {
                **self._since(until, window),
                "answer_us": answer // _MICROSECOND,
                "grace_us": grace // _MICROSECOND,
            }
            self._take(connection, parameters, [metric for metric in metrics if metric.kind != "quantile"])
            self._until, self._look = max(until, _EVER), self._look + 1
            quantiles = self._quantiles(metrics)
            return self._arm("challenger", metrics, quantiles), self._arm("control", metrics, quantiles)

    def _since(self, until: datetime, window: timedelta) -> dict[str, object]:
        """Parameters: who entered since the last look, up to `until`."""
        return {"experiment": self._experiment, "after": self._until, "closed_before": until, "window_us": window // _MICROSECOND}

    def _before_waiting(self, connection: Connection, until: datetime, window: timedelta, *, asked_after: datetime) -> datetime:
        """`until`, or just before the first user entered who waits for the answer to a question asked after that moment."""
        waiting: dict[str, datetime] = dict(
            connection.execute(_WAITED_FOR, self._since(until, window) | {"asked_after": asked_after}).fetchall()
        )
        if waiting:
            # Whoever is counted already, and came back, holds up nobody.
            query = 'SELECT "user" FROM closed WHERE "user" IN (SELECT unnest($users))'
            for (known,) in self._users.execute(query, {"users": list(waiting)}).fetchall():
                del waiting[known]
        return min([until, *(entered_at - _MICROSECOND for entered_at in waiting.values())])

    def _take(self, connection: Connection, parameters: Mapping[str, object], summed: Sequence[MetricContract]) -> None:
        """Add the users whose window closed since the last look; whoever turns up again in the other arm counts nowhere from now on."""
        self._users.register("fresh", connection.execute(_CLOSED, dict(parameters)).to_arrow_table())
        # The many closed users are read once, against a hash of the few fresh ones.
        self._users.execute('CREATE OR REPLACE TEMP TABLE known AS SELECT "user", arm FROM closed SEMI JOIN fresh USING ("user")')
        crossed = self._count(
            'SELECT count(*) FROM known k JOIN fresh f USING ("user") WHERE f.arm IS DISTINCT FROM k.arm AND k.arm IS NOT NULL'
        )
        if crossed:
            self._users.execute(
                'UPDATE closed SET arm = NULL FROM fresh f WHERE closed."user" = f."user" AND f.arm IS DISTINCT FROM closed.arm'
            )
            self._sums.clear()
            self._in_both += crossed
        self._users.execute(
            'INSERT INTO closed BY NAME SELECT *, $look AS look FROM fresh ANTI JOIN known USING ("user")', {"look": self._look}
        )
        self._users.unregister("fresh")
        entered = self._users.execute(
            "SELECT first_arm, count(*), count(*) FILTER (arm IS NULL) FROM closed WHERE look = ? GROUP BY first_arm", [self._look]
        ).fetchall()
        for arm, users, in_both in entered:
            self._entered[arm] += users
            self._in_both += in_both
        rows = self._users.execute(
            f"SELECT arm, {', '.join(['[count(*), count(*) FILTER (late_answers > 0)]', *map(_sums, summed)])} FROM closed WHERE arm IS NOT NULL AND look >= ? GROUP BY arm",  # noqa: S608 - names of counts are ours
            [self._look if self._sums else 0],
        ).fetchall()
        for arm, *added in rows:
            kept = self._sums.get(arm) or [[0.0] * len(sums) for sums in added]
            self._sums[arm] = [[old + (new or 0.0) for old, new in zip(*pair, strict=True)] for pair in zip(kept, added, strict=True)]

    def _arm(
        self, arm: Literal["challenger", "control"], metrics: Sequence[MetricContract], quantiles: Mapping[str, Mapping[str, Quantile]]
    ) -> ArmTotals:
        if arm not in self._sums:
            return ArmTotals(arm, 0, {})
        (users, late), *sums = self._sums[arm]
        summed = [metric.name for metric in metrics if metric.kind != "quantile"]
        totals = {name: MetricTotals(int(n), *rest) for name, (n, *rest) in zip(summed, sums, strict=True) if n}
        return ArmTotals(arm, int(users), totals, quantiles.get(arm, {}), int(late))

    def _quantiles(self, metrics: Sequence[MetricContract]) -> dict[str, dict[str, Quantile]]:
        """By arm and metric: they cannot be added up, so all closed users are read, once."""
        wanted = [metric for metric in metrics if metric.kind == "quantile"]
        if not wanted:
            return {}
        pieces = ", ".join(
            f"count(*) FILTER ({m.denominator} > 0), quantile_cont({m.numerator} / {m.denominator}, {m.quantile}) FILTER ({m.denominator} > 0)"
            for m in wanted
        )
        rows = self._users.execute(f"SELECT arm, {pieces} FROM closed WHERE arm IS NOT NULL GROUP BY arm").fetchall()  # noqa: S608 - names of counts are ours
        return {
            arm: {m.name: Quantile(users, value) for m, users, value in zip(wanted, said[::2], said[1::2], strict=True) if users}
            for arm, *said in rows
        }

    def exposed(self, connection: Connection, experiment_id: str) -> tuple[int, int]:
        """Distinct users first seen in the challenger's arm and in the control arm, closed or not."""
        return self._exposed(connection, experiment_id)[:2]

    def in_both_arms(self, connection: Connection, experiment_id: str) -> int:
        """Users who saw both arms and are therefore left out of every sum."""
        return self._exposed(connection, experiment_id)[2]

    def _exposed(self, connection: Connection, experiment_id: str) -> tuple[int, int, int]:
        with self._lock:
            # Another experiment is counted from the log alone, and the present one is not forgotten for it.
            looked_at = experiment_id == self._experiment
            after = self._until if looked_at else _EVER
            still_open = connection.execute(_OPEN, {"experiment": experiment_id, "after": after}).to_arrow_table()
            self._users.register("still_open", still_open)
            row = self._users.execute(
                """
                WITH known AS (
                    SELECT "user", arm FROM closed SEMI JOIN still_open USING ("user") WHERE $looked_at
                )
                SELECT count(*) FILTER (k."user" IS NULL AND o.first_arm = 'challenger'), count(*) FILTER (k."user" IS NULL AND o.first_arm = 'control'),
                    count(*) FILTER (CASE WHEN k."user" IS NULL THEN o.crossed ELSE k.arm IS NOT NULL AND (o.crossed OR o.first_arm <> k.arm) END)
                FROM still_open o LEFT JOIN known k USING ("user")
                """,
                {"looked_at": looked_at},
            ).fetchone()
            self._users.unregister("still_open")
            fresh = row or (0, 0, 0)
            closed = (self._entered["challenger"], self._entered["control"], self._in_both) if looked_at else (0, 0, 0)
            return fresh[0] + closed[0], fresh[1] + closed[1], fresh[2] + closed[2]

    def _count(self, query: str) -> int:
        row = self._users.execute(query).fetchone()
        return int(row[0]) if row else 0


def _sums(metric: MetricContract) -> str:
    """The fields of `MetricTotals`, as a list."""
    n, d = metric.numerator, metric.denominator
    return (
        f"[count(*) FILTER ({d} > 0), sum({n}) FILTER ({d} > 0), sum({d}), sum({n} * {n}) FILTER ({d} > 0), sum({d} * {d}), sum({n} * {d})]"
    )


def past_experiments(connection: Connection) -> list[PastExperiment]:
    """Every experiment that was ever opened, oldest first."""
    rows = connection.execute(
        """
        SELECT (o.body -> 'contract' ->> 'alpha')::DOUBLE, coalesce(v.body ->> 'verdict' = 'PROMOTE', false)
        FROM openings o LEFT JOIN verdicts v USING (experiment_id) ORDER BY o.occurred_at, o.experiment_id
        """
    ).fetchall()
    return [PastExperiment(alpha, promoted) for alpha, promoted in rows]
