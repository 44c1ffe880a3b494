"""Policies become chunks; folders become publications. What is not in the log yet is decided here, and nothing is read or written."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from csqa_loop.cycle.ports import Encoder
from csqa_loop.domain.chunking import chunk_markdown, title_of
from csqa_loop.domain.errors import PermanentError
from csqa_loop.domain.events import Chunk, ChunksWithdrawn, Event, PolicyIndexed, PolicyPublished, PolicyWithdrawn, derived_id
from csqa_loop.domain.policies import chunk_id, policy_version, read_document
from csqa_loop.domain.prompt import language_of
from csqa_loop.domain.vectors import pack_vector, unpack_vector

_LONGEST_TITLE = 500


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


async def index_policy(
    event: PolicyPublished | PolicyWithdrawn, encoder: Encoder, cache: VectorCache, *, chunk_characters: int, now: datetime
) -> PolicyIndexed | ChunksWithdrawn:
    """What `csqa.chunks` must say after `event`. Only texts that the cache lacks are encoded.

    Deterministic but for `occurred_at`: the topic is compacted by policy, so saying it twice leaves one record.
    """
    if isinstance(event, PolicyWithdrawn):
        return ChunksWithdrawn(
            event_id=derived_id(event.policy_id, "ChunksWithdrawn", str(event.event_id)), occurred_at=now, policy_id=event.policy_id
        )
    passages = chunk_markdown(event.text, chunk_characters)
    unknown = list(dict.fromkeys(passage.text for passage in passages if cache.get(passage.text) is None))
    rows = await encoder.encode_passages(unknown)
    fresh = {text: pack_vector(row) for text, row in zip(unknown, rows, strict=True)}
    chunks = tuple(
        Chunk(
            chunk_id=chunk_id(event.policy_id, event.version, number),
            section=passage.section,
            text=passage.text,
            vector=fresh.get(passage.text) or cache.get(passage.text) or "",
        )
        for number, passage in enumerate(passages)
    )
    return PolicyIndexed(
        event_id=derived_id(event.policy_id, "PolicyIndexed", f"{event.version}\n{encoder.name}"),
        occurred_at=now,
        policy_id=event.policy_id,
        version=event.version,
        title=event.title,
        encoder=encoder.name,
        dimension=encoder.dimension,
        chunks=chunks,
    )


@dataclass(slots=True)
class KnowledgeState:
    """The last word of both compacted topics on each policy."""

    current: dict[str, PolicyPublished] = field(default_factory=dict)
    withdrawn: dict[str, PolicyWithdrawn] = field(default_factory=dict)
    indexed: dict[str, tuple[str, str]] = field(default_factory=dict)
    """policy_id -> (version, encoder) of its chunks."""

    def take(self, event: Event) -> None:
        """Follow `csqa.policies` and `csqa.chunks` in the order of the log."""
        if isinstance(event, PolicyPublished):
            self.current[event.policy_id] = event
            self.withdrawn.pop(event.policy_id, None)
        elif isinstance(event, PolicyWithdrawn):
            self.current.pop(event.policy_id, None)
            self.withdrawn[event.policy_id] = event
        elif isinstance(event, PolicyIndexed):
            self.indexed[event.policy_id] = (event.version, event.encoder)
        elif isinstance(event, ChunksWithdrawn):
            self.indexed.pop(event.policy_id, None)

    def is_indexed(self, policy_id: str, version: str) -> bool:
        """Whether the log holds the chunks of this version, of any encoder."""
        return self.indexed.get(policy_id, ("", ""))[0] == version

    def outstanding(self, encoder: str) -> list[PolicyPublished | PolicyWithdrawn]:
        """Policy events whose consequence `csqa.chunks` lacks, by policy_id.

        Their offsets may be committed all the same: when the encoder's name changed, or when the log of chunks was lost.
        """
        lacking = (self.lacks(key, encoder) for key in sorted({*self.current, *self.withdrawn}))
        return [event for event in lacking if event is not None]

    def lacks(self, policy_id: str, encoder: str) -> PolicyPublished | PolicyWithdrawn | None:
        """The policy's last event, where its consequence is not in `csqa.chunks`."""
        event = self.current.get(policy_id)
        if event is not None:
            return event if self.indexed.get(policy_id) != (event.version, encoder) else None
        return self.withdrawn.get(policy_id) if policy_id in self.indexed else None


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a folder means for the log."""

    publish: tuple[PolicyPublished, ...]
    unchanged: tuple[str, ...]
    missing: tuple[str, ...]
    """Current policies that the folder has no file for."""
    refused: tuple[tuple[str, str], ...]
    """(file's policy_id, what is wrong with it)."""


def plan_sync(
    files: Mapping[str, str],
    unreadable: Mapping[str, str],
    current: Mapping[str, str],
    *,
    now: datetime,
    language: str = "",
    default_language: str = "en",
) -> SyncPlan:
    """Compare a folder (policy_id -> text; policy_id -> why it cannot be read) with the current policies (policy_id -> version).

    A file that is refused is not missing: its last good version stays current. A document's language is its front matter's, else `language`, else what its letters tell.
    """
    publish: list[PolicyPublished] = []
    unchanged: list[str] = []
    refused = list(unreadable.items())
    for policy_id, text in sorted(files.items()):
        try:
            event = publication(policy_id, text, now=now, language=language, default_language=default_language)
        except PermanentError as error:
            refused.append((policy_id, str(error)))
            continue
        if current.get(policy_id) == event.version:
            unchanged.append(policy_id)
        else:
            publish.append(event)
    missing = tuple(sorted(set(current) - set(files) - set(unreadable)))
    return SyncPlan(tuple(publish), tuple(unchanged), missing, tuple(sorted(refused)))


def publication(policy_id: str, text: str, *, now: datetime, language: str = "", default_language: str = "en") -> PolicyPublished:
    """The event that makes `text` the current version of a policy.

    Raises:
        PermanentError: there is nothing in it to retrieve, or its name is too long for a policy_id.
    """
    document = read_document(text)
    if not document.body.strip():
        raise PermanentError("the file is empty; a policy needs text under its front matter")
    if len(policy_id) > 200:
        raise PermanentError(f"its path has {len(policy_id)} characters; a policy_id has at most 200")
    spoken = document.language or language or language_of(document.body, default_language)
    if len(spoken) > 16:
        raise PermanentError(f"its front matter names language {spoken[:40]!r}; a short code such as en or zh is expected")
    return PolicyPublished(
        occurred_at=now,
        policy_id=policy_id,
        version=policy_version(text),
        title=(title_of(text) or policy_id)[:_LONGEST_TITLE],
        language=spoken,
        text=text,
    )


def withdrawal(policy_id: str, reason: str, current: Mapping[str, str], *, now: datetime) -> PolicyWithdrawn:
    """The event after which no gateway quotes the policy.

    Raises:
        PermanentError: no such policy is current.
    """
    if policy_id not in current:
        known = ", ".join(sorted(current)[:12]) or "none"
        raise PermanentError(f"policy {policy_id!r} is not published; current policies: {known}")
    return PolicyWithdrawn(occurred_at=now, policy_id=policy_id, reason=reason[:2000])


def _is_readable(vector: str, dimension: int) -> bool:
    # A damaged vector must be made again, not copied into every later version.
    try:
        unpack_vector(vector, dimension)
    except PermanentError:
        return False
    return True


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
