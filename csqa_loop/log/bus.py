"""What writes to the log."""

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

    async def send(self, topic: str, key: bytes | None, value: bytes) -> None:
        """As `publish`, of a record's bytes as they are."""
        ...
