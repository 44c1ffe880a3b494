"""Policies become chunks; folders become publications. What is not in the log yet is decided here, and nothing is read or written."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from csqa_loop.errors import PermanentError
from csqa_loop.events import Chunk, ChunksWithdrawn, Event, PolicyIndexed, PolicyPublished, PolicyWithdrawn, derived_id
from csqa_loop.knowledge.encoder import Encoder
from csqa_loop.knowledge.rules.passages import PolicyPassage, passages_of
from csqa_loop.knowledge.rules.vectors import pack_vector, unpack_vector


class VectorCache:
    """Packed vectors of one encoder by chunk text: only of the chunks that are in the log, so it cannot outgrow the policies."""

    def __init__(self, encoder: str) -> None:
        self.encoder = encoder
        self._vectors: dict[bytes, str] = {}
        self._users: Counter[bytes] = Counter()
        self._texts: dict[str, tuple[bytes, ...]] = {}  # by policy

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, text: str) -> str | None:
        """The packed vector of a chunk text."""
        return self._vectors.get(_digest(text))

    def take(self, event: Event) -> None:
        """Follow `csqa.chunks`: a policy's new chunks replace its old ones. Other events and other encoders change nothing."""
        if isinstance(event, PolicyIndexed) and event.encoder == self.encoder:
            fresh = {_digest(chunk.text): chunk.vector for chunk in event.chunks if _is_readable(chunk.vector, event.dimension)}
            self._users.update(fresh.keys())
            self._vectors.update(fresh)
            self._release(event.policy_id)
            self._texts[event.policy_id] = tuple(fresh)
        elif isinstance(event, ChunksWithdrawn):
            self._release(event.policy_id)

    def _release(self, policy_id: str) -> None:
        for digest in self._texts.pop(policy_id, ()):
            self._users[digest] -= 1
            if not self._users[digest]:
                del self._users[digest]
                del self._vectors[digest]


async def index_policies(
    events: Sequence[PolicyPublished | PolicyWithdrawn], encoder: Encoder, cache: VectorCache, *, chunk_characters: int, now: datetime
) -> list[PolicyIndexed | ChunksWithdrawn]:
    """What `csqa.chunks` must say after `events`, in their order. Only texts that the cache lacks are encoded, all of them in one call.

    Deterministic but for `occurred_at`: the topic is compacted by policy, so saying it twice leaves one record.
    """
    cut = {id(event): _cut(event, chunk_characters) for event in events if isinstance(event, PolicyPublished)}
    unknown = list(dict.fromkeys(passage.text for passages in cut.values() for passage in passages if cache.get(passage.text) is None))
    rows = await encoder.encode_passages(unknown)
    fresh = {text: pack_vector(row) for text, row in zip(unknown, rows, strict=True)}
    return [
        _withdrawn(event, now)
        if isinstance(event, PolicyWithdrawn)
        else PolicyIndexed(
            event_id=derived_id(event.policy_id, "PolicyIndexed", f"{event.version}\n{encoder.name}"),
            occurred_at=now,
            policy_id=event.policy_id,
            version=event.version,
            title=event.title,
            encoder=encoder.name,
            dimension=encoder.dimension,
            chunks=tuple(
                Chunk(
                    chunk_id=passage.chunk_id,
                    section=passage.section,
                    text=passage.text,
                    vector=fresh.get(passage.text) or cache.get(passage.text) or "",
                )
                for passage in cut[id(event)]
            ),
        )
        for event in events
    ]


def _cut(event: PolicyPublished, chunk_characters: int) -> tuple[PolicyPassage, ...]:
    return passages_of(event.policy_id, event.version, event.text, chunk_characters)


def _withdrawn(event: PolicyWithdrawn, now: datetime) -> ChunksWithdrawn:
    event_id = derived_id(event.policy_id, "ChunksWithdrawn", str(event.event_id))
    return ChunksWithdrawn(event_id=event_id, occurred_at=now, policy_id=event.policy_id)


def _is_readable(vector: str, dimension: int) -> bool:
    # A damaged vector must be made again, not copied into every later version.
    try:
        unpack_vector(vector, dimension)
    except PermanentError:
        return False
    return True


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
