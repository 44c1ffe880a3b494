"""The topics of the log: partitions, retention and limits. Names and keys are a public contract."""

from dataclasses import dataclass

MAX_POLICY_BYTES = 1024 * 1024
MAX_RECORD_BYTES = 8 * 1024 * 1024
_HOUR_MS = 3600 * 1000
WHOLE_HOURS = 7 * 24
"""For so long a fact of a compacted topic is not compacted away: with a backup that is younger, log and backup hold everything."""
_THIRTY_DAYS_MS = 30 * 24 * _HOUR_MS


@dataclass(frozen=True)
class Topic:
    """A Kafka topic as this system needs it to exist."""

    name: str
    key: str
    partitions: int
    compacted: bool = False
    facts: bool = True
    """Whether the ledger is made of it."""
    retention_ms: int = -1

    @property
    def config(self) -> dict[str, str]:
        """Kafka topic properties."""
        # Producers' clocks date nothing, where the broker knows this property: the embedded one takes it and goes by the producer all the same.
        common = {"max.message.bytes": str(MAX_RECORD_BYTES), "message.timestamp.type": "LogAppendTime"}
        if self.compacted:
            whole = WHOLE_HOURS * _HOUR_MS if self.facts else 0
            lag = {"min.compaction.lag.ms": str(whole), "max.compaction.lag.ms": str(whole + _HOUR_MS)}
            return common | {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"} | lag
        return common | {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}


POLICIES = "csqa.policies"
CHUNKS = "csqa.chunks"
CHATS = "csqa.chats"
FEEDBACK = "csqa.feedback"
BAD_CASES = "csqa.bad-cases"
TRAINING = "csqa.training"
DECISIONS = "csqa.decisions"
DEPLOYMENTS = "csqa.deployments"
DEAD_LETTERS = "csqa.dead-letters"

TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic(POLICIES, key="policy_id", partitions=4, compacted=True),
        Topic(CHUNKS, key="policy_id", partitions=4, compacted=True, facts=False),
        Topic(CHATS, key="conversation_id", partitions=8, retention_ms=_THIRTY_DAYS_MS),
        Topic(FEEDBACK, key="conversation_id", partitions=8, retention_ms=_THIRTY_DAYS_MS),
        Topic(BAD_CASES, key="conversation_id", partitions=4, retention_ms=_THIRTY_DAYS_MS),
        Topic(TRAINING, key="run_id", partitions=1),
        Topic(DECISIONS, key="experiment_id", partitions=1),
        Topic(DEPLOYMENTS, key="scope", partitions=1, compacted=True),
        Topic(DEAD_LETTERS, key="original key", partitions=1, retention_ms=_THIRTY_DAYS_MS),
    )
}

FACT_TOPICS = (POLICIES, CHATS, FEEDBACK, BAD_CASES, TRAINING, DECISIONS, DEPLOYMENTS)
"""What the ledger consumes. `csqa.chunks` is derived from `csqa.policies`; dead letters are the ledger's own output."""
