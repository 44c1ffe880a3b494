"""Which version of each policy is current, and what is indexed of it."""

from dataclasses import dataclass, field
from datetime import datetime

from csqa_loop.events import ChunksWithdrawn, Event, PolicyIndexed, PolicyPublished, PolicyWithdrawn


@dataclass(slots=True)
class CurrentPolicies:
    """The last word on each policy. Whoever reads events in another order than that of the log sorts them first."""

    current: dict[str, PolicyPublished] = field(default_factory=dict)
    withdrawn: dict[str, PolicyWithdrawn] = field(default_factory=dict)
    _published: dict[str, list[tuple[str, datetime]]] = field(default_factory=dict)
    """Policy -> its versions since its last withdrawal, each with when it was published, in the order of the log."""

    def take(self, event: PolicyPublished | PolicyWithdrawn, moment: datetime | None = None) -> None:
        """Follow one policy event after another: a version replaces the one before it, and a withdrawn policy has none.

        `moment`: when it counts as published, if that is not when the event says it occurred.
        """
        if isinstance(event, PolicyPublished):
            self.current[event.policy_id] = event
            self.withdrawn.pop(event.policy_id, None)
            versions = self._published.setdefault(event.policy_id, [])
            if not versions or versions[-1][0] != event.version:
                versions.append((event.version, moment or event.occurred_at))
        else:
            self.current.pop(event.policy_id, None)
            self.withdrawn[event.policy_id] = event
            self._published.pop(event.policy_id, None)

    def superseded_at(self, policy_id: str, version: str) -> datetime | None:
        """When another version took the place of this former one; None where it is no former version since the policy's last withdrawal."""
        later: datetime | None = None
        for known, moment in reversed(self._published.get(policy_id, ())):
            if known == version:
                return later
            later = moment
        return None


@dataclass(slots=True)
class KnowledgeState:
    """The last word of both compacted topics on each policy."""

    policies: CurrentPolicies = field(default_factory=CurrentPolicies)
    indexed: dict[str, tuple[str, str]] = field(default_factory=dict)
    """policy_id -> (version, encoder) of its chunks."""

    def take(self, event: Event) -> None:
        """Follow `csqa.policies` and `csqa.chunks` in the order of the log."""
        if isinstance(event, PolicyPublished | PolicyWithdrawn):
            self.policies.take(event)
        elif isinstance(event, PolicyIndexed):
            self.indexed[event.policy_id] = (event.version, event.encoder)
        elif isinstance(event, ChunksWithdrawn):
            self.indexed.pop(event.policy_id, None)

    @property
    def current(self) -> dict[str, PolicyPublished]:
        """The current version of each policy that has one."""
        return self.policies.current

    def is_indexed(self, policy_id: str, version: str) -> bool:
        """Whether the log holds the chunks of this version, of any encoder."""
        return self.indexed.get(policy_id, ("", ""))[0] == version

    def lacks(self, policy_id: str, encoder: str) -> PolicyPublished | PolicyWithdrawn | None:
        """The policy's last event, where its consequence is not in `csqa.chunks`.

        Its offset may be committed all the same: when the encoder's name changed, or when the log of chunks was lost.
        """
        event = self.current.get(policy_id)
        if event is not None:
            return event if self.indexed.get(policy_id) != (event.version, encoder) else None
        return self.policies.withdrawn.get(policy_id) if policy_id in self.indexed else None
