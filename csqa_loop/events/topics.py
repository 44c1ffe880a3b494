"""The topics of the log: partitions, retention and limits. Names and keys are a public contract."""

from dataclasses import dataclass

MAX_POLICY_BYTES = 1024 * 1024
MAX_RECORD_BYTES = 8 * 1024 * 1024
_THIRTY_DAYS_MS = 30 * 24 * 3600 * 1000


@dataclass(frozen=True)
class Topic:
    """A Kafka topic as this system needs it to exist."""

    name: str
    key: str
    partitions: int
    compacted: bool = False
    retention_ms: int = -1

    @property
    def config(self) -> dict[str, str]:
        """Kafka topic properties."""
        # Producers' clocks date nothing, where the broker knows this property: the embedded one takes it and goes by the producer all the same.
        common = {"max.message.bytes": str(MAX_RECORD_BYTES), "message.timestamp.type": "LogAppendTime"}
        if self.compacted:
            return common | {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "max.compaction.lag.ms": "3600000"}
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
        Topic(CHUNKS, key="policy_id", partitions=4, compacted=True),
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
