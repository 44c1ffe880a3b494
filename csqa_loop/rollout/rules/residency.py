"""Which adapters model servers hold. Pure."""

from datetime import datetime, timedelta

from csqa_loop.events import BASE, DeploymentChanged

DRAIN = timedelta(minutes=2)
"""How long a replaced champion stays resident, so that answers in flight finish."""


def resident_adapters(deployment: DeploymentChanged, as_of: datetime) -> frozenset[str]:
    """What every replica must hold: champion, challenger, candidate, and the previous champion while it drains."""
    names = {deployment.champion, deployment.challenger, deployment.candidate}
    if as_of - deployment.occurred_at < DRAIN:
        names.add(deployment.previous_champion)
    return frozenset(name for name in names if name and name != BASE)
