"""What a new log must hold before other processes can go on: the current policies, whose log it is, the deployment, the open run."""

from csqa_loop import events as e
from csqa_loop.events.wire import decode
from csqa_loop.ledger.authority import latest_claim
from csqa_loop.ledger.connection import Connection
from csqa_loop.rollout.state import current_deployment
from csqa_loop.training.runs import latest_run


def unpublished_epoch(connection: Connection) -> tuple[int, list[e.Event]] | None:
    """The newest epoch whose log lacks the current facts, with those facts: policies, the ledger, deployment, an unfinished run's request."""
    row = connection.execute("SELECT max(epoch) FROM epochs WHERE NOT republished").fetchone()
    if row is None or row[0] is None:
        return None
    bodies = connection.execute("SELECT body FROM current_policies ORDER BY policy_id").fetchall()
    events = [decode(e.PolicyPublished.topic, body.encode()) for (body,) in bodies]
    if claim := latest_claim(connection):
        events.append(claim)
    if deployment := current_deployment(connection):
        events.append(deployment)
    run = latest_run(connection)
    if run and not run.evaluated and not run.failed:
        events.append(run.request)
    return int(row[0]), events
