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
        self._held: dict[str, Lease] = {}

    def take(self, item: str, agent: str, now: datetime) -> Lease:
        """The lease in force from now on: the agent's own, new or renewed, or that of another agent who was first."""
        held = self.of(item, now)
        if held is not None and held.agent != agent:
            return held
        self._held = {name: lease for name, lease in self._held.items() if lease.until > now}
        self._held[item] = Lease(agent, now + self._lasting)
        return self._held[item]

    def of(self, item: str, now: datetime) -> Lease | None:
        """Who has the item, if anybody."""
        held = self._held.get(item)
        return held if held is not None and held.until > now else None

    def give_back(self, item: str, agent: str) -> None:
        """Free the item, where it is this agent's."""
        held = self._held.get(item)
        if held is not None and held.agent == agent:
            del self._held[item]
