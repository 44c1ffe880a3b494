"""What a new log must hold before other processes can go on: the current policies, whose log it is, the deployment, the open run."""

from datetime import UTC, datetime
from typing import NamedTuple

from csqa_loop import events as e
from csqa_loop.events.wire import decode
from csqa_loop.ledger.authority import latest_claim
from csqa_loop.ledger.connection import Connection
from csqa_loop.rollout.state import current_deployment
from csqa_loop.training.runs import latest_run

_POLICIES = "SELECT body, recorded_at FROM current_policies ORDER BY policy_id"
_RECORDED = "SELECT recorded_at FROM events WHERE event_id = ?"


class Unpublished(NamedTuple):
    """What the log of the newest epoch lacks."""

    epoch: int
    asked: int
    """How often it has had to be asked for."""
    facts: list[tuple[e.Event, datetime]]
    """Each with the moment at which the log had it first."""


def unpublished_epoch(connection: Connection) -> Unpublished | None:
    """The newest epoch whose log lacks the current facts, with those facts: policies and withdrawals, the ledger, deployment, an unfinished run's request."""
    row = connection.execute("SELECT epoch, asked FROM epochs WHERE NOT republished ORDER BY epoch DESC LIMIT 1").fetchone()
    if row is None:
        return None
    facts = [
        (decode(e.PolicyPublished.topic, body.encode()), moment.astimezone(UTC))
        for body, moment in connection.execute(_POLICIES).fetchall()
    ]
    deployment, run = current_deployment(connection), latest_run(connection)
    others = [latest_claim(connection), deployment, run.request if run and not run.evaluated and not run.failed else None]
    return Unpublished(row[0], row[1], [*facts, *((event, _recorded_at(connection, event)) for event in others if event)])


def _recorded_at(connection: Connection, event: e.Event) -> datetime:
    row = connection.execute(_RECORDED, [str(event.event_id)]).fetchone()
    moment: datetime = row[0] if row else event.occurred_at
    return moment.astimezone(UTC)
