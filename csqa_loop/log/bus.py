"""What writes to the log."""

from datetime import datetime
from typing import Protocol

from csqa_loop.events import Event


class Bus(Protocol):
    """The log, as a writer."""

    async def publish(self, *events: Event) -> None:
        """Return once the broker acknowledged every event (acks=all).

        Raises:
            TransientError: not acknowledged within the bound; some may have been written, so publish the same events again.
            PermanentError: an event is larger than the topic takes; none of the larger ones was written.
        """
        ...

    async def carry(self, *facts: tuple[Event, datetime]) -> None:
        """As `publish`, of facts that a former log held, each with the moment at which that log had it."""
        ...
