"""The log: one partition a topic, dated by the broker."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from csqa_loop.events import DecisionEvent, DeploymentChanged, Event, TrainingEvent
from csqa_loop.log.records import LogRecord, microseconds

TOPICS = (TrainingEvent.topic, DecisionEvent.topic, DeploymentChanged.topic)


class Fact(NamedTuple):
    """One record."""

    event: Event
    offset: int
    stamp: datetime
    """The broker's, in whole milliseconds."""

    @property
    def record(self) -> LogRecord:
        """As it lies in the log."""
        event = self.event
        stamp_ms = microseconds(self.stamp) // 1000
        return LogRecord(event.topic, 0, self.offset, event.key.encode(), event.to_json(), stamp_ms, is_stamped=True)


class Log:
    """What was acknowledged, topic by topic."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.topics: dict[str, list[Fact]] = {topic: [] for topic in TOPICS}
        self.facts: list[Fact] = []
        """All topics in the order of writing."""
        self._clock = clock

    def append(self, event: Event) -> Fact:
        """Write it."""
        moment = self._clock()
        topic = self.topics[event.topic]
        fact = Fact(event, len(topic), moment.replace(microsecond=moment.microsecond // 1000 * 1000))
        topic.append(fact)
        self.facts.append(fact)
        return fact
