"""Policies out of the log, their chunks into the log: what `csqa.chunks` lacks is found, indexed and published.

Doing it twice changes nothing, so whoever calls tries again after a TransientError.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence

from csqa_loop.errors import CsqaError, PermanentError, TransientError
from csqa_loop.events import ChunksWithdrawn, Event, PolicyIndexed, PolicyPublished, PolicyWithdrawn, now
from csqa_loop.events.topics import CHUNKS, POLICIES
from csqa_loop.events.wire import decode
from csqa_loop.knowledge.encoder import Encoder
from csqa_loop.knowledge.indexing import VectorCache, index_policies
from csqa_loop.knowledge.rules.current import KnowledgeState
from csqa_loop.log.bus import Bus
from csqa_loop.log.reader import read_to_end
from csqa_loop.log.records import LogRecord
from csqa_loop.settings import Settings

_log = logging.getLogger(__name__)
_MOST_TOGETHER = 32
"""Documents in one call of the encoder, and in one publication: more would make each wait for too many others."""


class Indexer:
    """Knows both topics and what they lack. One call at a time."""

    def __init__(self, settings: Settings, encoder: Encoder, bus: Bus) -> None:
        self._settings = settings
        self._encoder = encoder
        self._bus = bus
        self._state = KnowledgeState()
        self._cache = VectorCache(encoder.name)
        self._read_to: dict[int, int] = {}  # by partition: the last offset that the state knows from reading the whole topic
        self._indexed = 0
        self._unindexed: dict[str, str] = {}
        """Policy -> why it cannot be searched. It is tried again when another version comes, and at the next start."""

    def figures(self) -> dict[str, object]:
        """For people."""
        return {
            "encoder": self._encoder.name,
            "policies": len(self._state.current),
            "indexed": self._indexed,
            "cached_chunks": len(self._cache),
            "unindexed": dict(self._unindexed),
        }

    def news(self, records: Iterable[LogRecord]) -> list[Event]:
        """What `records` of `csqa.policies` say that `reconcile` has not read. Those that say nothing are named in the log and passed over."""
        return list(_decoded(record for record in records if record.offset > self._read_to.get(record.partition, -1)))

    async def take(self, events: Sequence[Event]) -> None:
        """Return once `csqa.chunks` holds what follows from `events`.

        Raises:
            TransientError: the log did not take it.
        """
        for event in events:
            self._state.take(event)
        await self._index(dict.fromkeys(event.key for event in events))  # only a policy's last word needs work

    async def reconcile(self, partitions: frozenset[int]) -> None:
        """Read both topics and do what is left of these `partitions`: whatever was lost between the topics, it is found here.

        Raises:
            TransientError: the log cannot be read to its end, or did not take what was left.
        """
        state, cache = KnowledgeState(), VectorCache(self._encoder.name)
        mine: set[str] = set()
        self._read_to = {}
        async for record in read_to_end(self._settings.kafka_servers, self._settings.kafka, [POLICIES, CHUNKS]):
            for event in _decoded([record]):
                state.take(event)
                cache.take(event)
                if record.topic == POLICIES and record.partition in partitions:
                    mine.add(event.key)
            if record.topic == POLICIES:
                self._read_to[record.partition] = record.offset
        self._state, self._cache = state, cache
        await self._index(sorted(mine))

    async def _index(self, policy_ids: Iterable[str]) -> None:
        events = [event for key in policy_ids if (event := self._state.lacks(key, self._encoder.name))]
        together = 1
        while events:
            batch, events = events[:together], events[together:]
            await self._publish(await self._indexed_of(batch))
            # The first document does not wait for the others, and thousands do not cost a call of the encoder each.
            together = min(2 * together, _MOST_TOGETHER)

    async def _indexed_of(self, batch: Sequence[PolicyPublished | PolicyWithdrawn]) -> list[PolicyIndexed | ChunksWithdrawn]:
        limit = self._settings.retrieval.chunk_characters
        try:
            done = await index_policies(batch, self._encoder, self._cache, chunk_characters=limit, now=now())
        except TransientError:
            raise
        except Exception as error:  # refused, or a fault of ours that one text brings out: the other policies are indexed
            if len(batch) > 1:
                return [indexed for event in batch for indexed in await self._indexed_of([event])]
            if not isinstance(error, PermanentError):
                _log.exception("policy %s", batch[0].policy_id)
            self._pass_over(batch[0].policy_id, str(error) if isinstance(error, PermanentError) else f"{type(error).__name__}: {error}")
            return []
        for event in batch:
            self._unindexed.pop(event.policy_id, None)
        return done

    def _pass_over(self, policy_id: str, why: str) -> None:
        self._unindexed[policy_id] = why
        _log.error("policy %s cannot be searched: %s", policy_id, why)

    async def _publish(self, events: Sequence[PolicyIndexed | ChunksWithdrawn]) -> None:
        if not events:
            return
        try:
            await self._bus.publish(*events)
        except PermanentError as error:
            if len(events) > 1:
                for event in events:
                    await self._publish([event])
                return
            self._pass_over(events[0].policy_id, str(error))
        for event in events:
            self._state.take(event)
            self._cache.take(event)
            self._indexed += isinstance(event, PolicyIndexed)


def _decoded(records: Iterable[LogRecord]) -> Iterator[Event]:
    for record in records:
        try:
            yield decode(record.topic, record.value)
        except CsqaError as error:
            _log.error("skipped record %s[%d]@%d: %s", record.topic, record.partition, record.offset, error)
