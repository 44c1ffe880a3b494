"""Who works on what: one agent an item, for a while."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Lease:
    """An agent has an item until a moment."""

    agent: str
    until: datetime


class Leases:
    """Held in memory by the one process that hands them out: after a restart everything is free, which at worst makes two agents look at
    one item for as long as a lease lasts; a decision still needs a lease of its own.
    """

    def __init__(self, seconds: float = 300.0) -> None:
        self._lasting = timedelta(seconds=seconds)
        self._leases: dict[str, Lease] = {}

    def take(self, item: str, agent: str, now: datetime) -> Lease:
        """The lease in force from now on: the agent's own, new or renewed, or that of another agent who was first."""
        lease = self.of(item, now)
        if lease is not None and lease.agent != agent:
            return lease
        self._leases = {name: lease for name, lease in self._leases.items() if lease.until > now}
        self._leases[item] = Lease(agent, now + self._lasting)
        return self._leases[item]

    def of(self, item: str, now: datetime) -> Lease | None:
        """The lease of the item, if one is in force."""
        lease = self._leases.get(item)
        return lease if lease is not None and lease.until > now else None

    def give_back(self, item: str, agent: str) -> None:
        """Free the item, where it is this agent's."""
        lease = self._leases.get(item)
        if lease is not None and lease.agent == agent:
            del self._leases[item]
