"""What the log carries, for readers and writers in any language: JSON Schemas and an AsyncAPI 3.0 document."""

from typing import Any

from csqa_loop.events import EVENTS, EVENTS_OF_TOPIC, Event, topics, type_name
from csqa_loop.events.topics import FACT_TOPICS, MAX_POLICY_BYTES, MAX_RECORD_BYTES, TOPICS, Topic

JsonDocument = dict[str, Any]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ALWAYS = ("type", "event_id", "occurred_at")
"""Defaults in this code, but on the wire every writer says them: they are what makes a record a fact that is counted once."""
_BINDING_VERSION = "0.5.0"

_TOPIC_TEXTS = {
    topics.POLICIES: "Policy documents. The last event of a policy_id is its present state.",
    topics.CHUNKS: "What the indexer made of each policy: all chunks of one version with their vectors.",
    topics.CHATS: "Who saw which arm, and every answer with all that is needed to reproduce and to judge it.",
    topics.FEEDBACK: "Thumbs of customers.",
    topics.BAD_CASES: "Bad answers that agents report, with the right one where it is known.",
    topics.TRAINING: "Training runs, from the request to the gate's verdict; and adapters that were given up after it.",
    topics.DECISIONS: "Experiments: opened, widened, decided; and what operators did.",
    topics.DEPLOYMENTS: "What gateways serve. The highest revision is the current one.",
    topics.DEAD_LETTERS: "Records that could not be taken, with the reason; of large ones the beginning.",
}

_MESSAGE = "c-4711.1"
EXAMPLES: dict[str, JsonDocument] = {
    "ArmExposed": {
        "type": "ArmExposed",
        "event_id": "5f0c1f5e-6c0e-4c54-9d6b-0f5a4f6c7a01",
        "occurred_at": "2026-11-22T09:30:00.000Z",
        "message_id": _MESSAGE,
        "conversation_id": "c-4711",
        "user": "u-3f2a9c0d1e4b5a67",
    },
    "AnswerGiven": {
        "type": "AnswerGiven",
        "event_id": "5f0c1f5e-6c0e-4c54-9d6b-0f5a4f6c7a02",
        "occurred_at": "2026-11-22T09:30:01.250Z",
        "message_id": _MESSAGE,
        "conversation_id": "c-4711",
        "user": "u-3f2a9c0d1e4b5a67",
        "question": "How long can I return a laptop?",
        "messages": [
            {"role": "system", "content": "Answer using only this policy:\n\nElectronics can be returned within 14 days of delivery."},
            {"role": "user", "content": "How long can I return a laptop?"},
        ],
        "answer": "You can return it within 30 days.",
        "source": "model",
        "latency_ms": 840.0,
    },
    "FeedbackGiven": {
        "type": "FeedbackGiven",
        "event_id": "5f0c1f5e-6c0e-4c54-9d6b-0f5a4f6c7a03",
        "occurred_at": "2026-11-22T09:30:20+00:00",
        "conversation_id": "c-4711",
        "message_id": _MESSAGE,
        "user": "u-3f2a9c0d1e4b5a67",
        "thumb": "down",
        "comment": "The shop told me 14 days.",
    },
    "BadCaseReported": {
        "type": "BadCaseReported",
        "event_id": "5f0c1f5e-6c0e-4c54-9d6b-0f5a4f6c7a04",
        "occurred_at": "2026-11-22T17:45:00+08:00",
        "conversation_id": "c-4711",
        "message_id": _MESSAGE,
        "reason": "wrong",
        "corrected_answer": "You can return it within 14 days of delivery, unused and in its packaging.",
        "reviewer": "agent-7",
    },
}
"""What a frontend that writes to the log itself publishes for one answer that went wrong."""


def event_schema(event: type[Event]) -> JsonDocument:
    """JSON Schema (2020-12) of one event as it lies in a record."""
    schema = event.model_json_schema(mode="validation")
    required = [*_ALWAYS, *(name for name in schema.get("required", ()) if name not in _ALWAYS)]
    return {
        "$schema": _DIALECT,
        "$id": f"urn:csqa_loop:event:{event.__name__}:1",
        **schema,
        "required": required,
        "x-topic": event.topic,
        "x-key": event.key_field,
    }


def event_schemas() -> dict[str, JsonDocument]:
    """Name of the event -> its schema. `ChunksWithdrawn` says `PolicyWithdrawn` on the wire: names of types are unique within a topic."""
    return {event.__name__: event_schema(event) for event in EVENTS}


def asyncapi() -> JsonDocument:
    """AsyncAPI 3.0: every topic a channel, every event a message; payloads refer to the schema files beside the document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "csqa_loop events",
            "version": "1.0.0",
            "description": (
                "The log of csqa_loop on Kafka. Records are UTF-8 JSON; keys are UTF-8 text, partitioned by murmur2 as Java clients do. "
                f"A record may have {MAX_RECORD_BYTES} bytes, a policy's text {MAX_POLICY_BYTES}. "
                "Delivery is at least once: readers drop an event_id that they know. Readers ignore fields they do not know; writers never send such."
            ),
        },
        "defaultContentType": "application/json",
        "channels": {_channel_name(topic): _channel(topic) for topic in TOPICS.values()},
        "operations": {name: operation for topic in TOPICS.values() for name, operation in _operations(topic).items()},
        "components": {"messages": {event.__name__: _message(event) for event in EVENTS}},
    }


def _channel_name(topic: Topic) -> str:
    return topic.name.removeprefix("csqa.")


def _channel(topic: Topic) -> JsonDocument:
    config: JsonDocument = {"cleanup.policy": ["compact" if topic.compacted else "delete"]}
    if not topic.compacted:
        config["retention.ms"] = topic.retention_ms
    config["max.message.bytes"] = MAX_RECORD_BYTES
    return {
        "address": topic.name,
        "description": _TOPIC_TEXTS[topic.name],
        "messages": {event.__name__: {"$ref": f"#/components/messages/{event.__name__}"} for event in _events(topic)},
        "bindings": {
            "kafka": {"topic": topic.name, "partitions": topic.partitions, "topicConfiguration": config, "bindingVersion": _BINDING_VERSION}
        },
    }


def _operations(topic: Topic) -> dict[str, JsonDocument]:
    """From the system's side: it sends on every topic and receives what the ledger, the indexer and gateways consume."""
    channel = {"$ref": f"#/channels/{_channel_name(topic)}"}
    operations = {f"send-{_channel_name(topic)}": {"action": "send", "channel": channel}}
    if topic.name in (*FACT_TOPICS, topics.CHUNKS):
        operations[f"receive-{_channel_name(topic)}"] = {"action": "receive", "channel": channel}
    return operations


def _message(event: type[Event]) -> JsonDocument:
    message: JsonDocument = {
        "name": type_name(event),
        "title": event.__name__,
        "summary": _first_line(event),
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "description": "Set by this system's writers so that a tool can filter without parsing; no reader needs it.",
            "properties": {"type": {"const": type_name(event)}},
        },
        "payload": {"$ref": f"./schemas/{event.__name__}.json"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": f"The event's {TOPICS[event.topic].key}, as UTF-8."},
                "bindingVersion": _BINDING_VERSION,
            }
        },
    }
    if event.__name__ in EXAMPLES:
        message["examples"] = [{"name": event.__name__, "payload": EXAMPLES[event.__name__]}]
    return message


def _events(topic: Topic) -> list[type[Event]]:
    return list(EVENTS_OF_TOPIC[topic.name].values())


def _first_line(event: type[Event]) -> str:
    return (event.__doc__ or "").strip().splitlines()[0]
