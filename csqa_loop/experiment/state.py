"""The experiments that the ledger holds."""

from csqa_loop import events as e
from csqa_loop.experiment.rules.experiments import Experiment
from csqa_loop.experiment.rules.feasibility import RecentLatency
from csqa_loop.ledger.connection import Connection


def latest_experiment(connection: Connection, experiment_id: str | None = None) -> Experiment | None:
    """The experiment opened last (or the named one), with its present share and verdict."""
    row = connection.execute(
        """
        SELECT body FROM decisions WHERE type = 'ExperimentOpened' AND ($1 IS NULL OR experiment_id = $1)
        ORDER BY epoch DESC, "offset" DESC, event_id DESC LIMIT 1
        """,
        [experiment_id],
    ).fetchone()
    if row is None:
        return None
    opened = e.ExperimentOpened.model_validate_json(row[0])
    name = [opened.experiment_id]
    raised = connection.execute("SELECT body FROM decisions WHERE type = 'ShareRaised' AND experiment_id = ?", name).fetchall()
    shares = [e.ShareRaised.model_validate_json(body).share for (body,) in raised]
    verdict = connection.execute("SELECT body FROM verdicts WHERE experiment_id = ?", name).fetchone()
    return Experiment(
        opened=opened,
        share=max([opened.share, *shares]),
        verdict=e.VerdictReached.model_validate_json(verdict[0]) if verdict else None,
    )


_RECENT_ANSWERS = 200


def recent_latency(connection: Connection) -> RecentLatency:
    """Of the last answers, whoever asked."""
    row = connection.execute(
        "SELECT count(*), coalesce(quantile_cont(latency_ms, 0.95), 0) FROM (SELECT latency_ms FROM answers ORDER BY recorded_at DESC LIMIT ?)",
        [_RECENT_ANSWERS],
    ).fetchone()
    answers, p95_ms = row or (0, 0.0)
    return RecentLatency(int(answers), float(p95_ms) / 1000)
