"""What writes to the log."""

from datetime import datetime
from typing import Protocol

from csqa_loop.events import Event


class Bus(Protocol):
    """The log, as a writer."""

    async def publish(self, *events: Event) -> None:
        """Return once every event is safe: acknowledged by the broker (acks=all), or synced to this machine's disk on its way there.

        Raises:
            TransientError: not within the bound; some may have been written, so publish the same events again.
            PermanentError: an event is larger than the topic takes; none of the larger ones was written.
        """
        ...


class RawBus(Bus, Protocol):
    """A log that takes records as they are, too: what was refused once is sent again byte for byte, and what a former log held as such."""

    async def carry(self, *facts: tuple[Event, datetime]) -> None:
        """As `publish`, of facts that a former log held, each with the moment at which that log had it."""
        ...

    async def send(self, topic: str, key: bytes | None, value: bytes) -> None:
        """As `publish`, of a record's bytes."""
        ...
