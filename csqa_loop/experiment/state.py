"""The experiments that the ledger holds."""

import json

from csqa_loop import events as e
from csqa_loop.experiment.rules.experiments import Experiment
from csqa_loop.ledger.bookkeeping import Connection


def latest_experiment(connection: Connection, experiment_id: str | None = None) -> Experiment | None:
    """The experiment opened last (or the named one), with its present share and verdict."""
    row = connection.execute(
        "SELECT body FROM decisions WHERE type = 'ExperimentOpened' AND ($1 IS NULL OR experiment_id = $1) ORDER BY occurred_at DESC, event_id DESC LIMIT 1",
        [experiment_id],
    ).fetchone()
    if row is None:
        return None
    opened = e.ExperimentOpened.model_validate_json(row[0])
    rows = connection.execute(
        "SELECT type, body FROM decisions WHERE experiment_id = ? ORDER BY occurred_at, event_id", [opened.experiment_id]
    ).fetchall()
    shares = [json.loads(body)["share"] for name, body in rows if name == "ShareRaised"]
    verdicts = [e.VerdictReached.model_validate_json(body) for name, body in rows if name == "VerdictReached"]
    return Experiment(opened=opened, share=max([opened.share, *shares]), verdict=verdicts[0] if verdicts else None)
