"""Topics as this system needs them: created where they are missing, compared where they exist."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from csqa_loop.errors import TransientError
from csqa_loop.events.topics import TOPICS, Topic
from csqa_loop.settings import KafkaSettings

log = logging.getLogger(__name__)
_OK = 0
_STAMP = "message.timestamp.type"
_SET_ON_TOPIC = 1
"""Where an entry's value comes from, in the answer to a DescribeConfigs request."""
_CHECKED = ("cleanup.policy", "max.message.bytes", "min.compaction.lag.ms")
"""A wrong one of these loses data: deleted policies, refused records, versions that no backup holds yet."""


async def ensure_topics(servers: str, settings: KafkaSettings, topics: Sequence[Topic] = tuple(TOPICS.values())) -> None:
    """Create what is missing and return once the broker's metadata shows it; what exists is compared and warned about by name.

    Raises:
        TransientError: the broker did not answer, or did not create a topic, within three times the request time-out.
    """
    bound = 3 * settings.request_timeout_seconds
    try:
        async with asyncio.timeout(bound), _admin(servers, settings) as admin:
            await _ensure(admin, settings, topics)
    except (TimeoutError, KafkaError, OSError) as error:
        raise TransientError(f"Kafka at {servers}: topics could not be ensured within {bound:g} s ({error!r})") from error


@asynccontextmanager
async def _admin(servers: str, settings: KafkaSettings) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers, request_timeout_ms=int(settings.request_timeout_seconds * 1000))
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def _ensure(admin: Any, settings: KafkaSettings, topics: Sequence[Topic]) -> None:
    partitions = await _partitions(admin)
    await _compare(admin, partitions, [topic for topic in topics if topic.name in partitions])
    while missing := [topic for topic in topics if topic.name not in partitions]:
        refused = await _create(admin, settings, missing, with_config=True)
        if refused:
            # An embedded broker need not know every property. The topics matter more than how they are cleaned.
            await _create(admin, settings, refused, with_config=False)
        partitions = await _partitions(admin)
        await asyncio.sleep(0 if missing == [] else 0.05)


async def _partitions(admin: Any) -> dict[str, int]:
    # Asks for all topics: a broker that creates topics by itself would create each one that is asked for by name, with its own defaults.
    return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics() if topic["error_code"] == _OK}


async def _create(admin: Any, settings: KafkaSettings, topics: Sequence[Topic], *, with_config: bool) -> list[Topic]:
    """Create the topics; those that were refused."""
    new = [
        NewTopic(topic.name, topic.partitions, settings.replication_factor, topic_configs=topic.config if with_config else {})
        for topic in topics
    ]
    response = await admin.create_topics(new)
    refused = []
    for name, code, *rest in response.topic_errors:
        error = for_code(code)
        if code == _OK or error is TopicAlreadyExistsError:
            continue
        log.warning(
            "Kafka refused to create %s%s: %s %s", name, " with its config" if with_config else "", error.__name__, rest[0] if rest else ""
        )
        refused.append(TOPICS[name] if name in TOPICS else next(topic for topic in topics if topic.name == name))
    return refused


async def _compare(admin: Any, partitions: dict[str, int], topics: Sequence[Topic]) -> None:
    for topic in topics:
        if partitions[topic.name] != topic.partitions:
            log.warning("topic %s has %d partitions; %d are expected", topic.name, partitions[topic.name], topic.partitions)
    if not topics:
        return
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics])
    except (KafkaError, TimeoutError) as error:
        log.info("topic configs cannot be compared: this broker does not describe them (%r)", error)
        return
    actual = {name: {entry[0]: entry[1] for entry in entries} for answer in answers for _, _, _, name, entries in answer.resources}
    for topic in topics:
        for key in _CHECKED:
            value = actual.get(topic.name, {}).get(key)
            if value is not None and value != topic.config.get(key, value):
                log.warning("topic %s has %s=%s; %s is expected", topic.name, key, value, topic.config[key])
    await _stamp(admin, answers, topics)


async def _stamp(admin: Any, answers: Sequence[Any], topics: Sequence[Topic]) -> None:
    """Have the broker date the records of topics that were made before it was asked to; what else was set on them stays."""
    by_name = {topic.name: topic for topic in topics}
    for answer in answers:
        for _, _, _, name, entries in answer.resources:
            stamp = {entry[0]: entry[1] for entry in entries}.get(_STAMP)
            if answer.API_VERSION < 1 or stamp in {None, by_name[name].config[_STAMP]}:
                continue  # the first version does not tell what was set from what is default
            # This request replaces all that was set.
            kept = {entry[0]: entry[1] for entry in entries if entry[3] == _SET_ON_TOPIC}
            changed = ConfigResource(ConfigResourceType.TOPIC, name, configs=kept | {_STAMP: by_name[name].config[_STAMP]})
            try:
                replies = await admin.alter_configs([changed])
            except (KafkaError, TimeoutError) as error:
                log.warning("topic %s keeps %s=%s, by which producers' clocks date its records: %r", name, _STAMP, stamp, error)
                continue
            refused = [for_code(code).__name__ for reply in replies for code, *_ in reply.resources if code != _OK]
            log.warning("topic %s has %s=%s: %s", name, _STAMP, stamp, ", ".join(refused) or f"set to {by_name[name].config[_STAMP]}")
