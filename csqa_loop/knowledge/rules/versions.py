"""A policy document: a Markdown text with a version, a title and a language."""

import bisect
import hashlib
from collections.abc import Iterable

from csqa_loop.knowledge.formats.markdown import with_plain_line_ends


def policy_version(text: str) -> str:
    """12 hex of the SHA-256 of the whole text, front matter included: any change of a file but of its line ends is a new version."""
    return hashlib.sha256(with_plain_line_ends(text).encode()).hexdigest()[:12]


def chunk_id(policy_id: str, version: str, number: int) -> str:
    """Names one chunk of one version for ever; `number` counts from 0."""
    return f"{policy_id}@{version}#{number}"


def index_version(served: Iterable[tuple[str, str, str]]) -> str:
    """12 hex over the sorted (policy_id, version, encoder): equal on all gateways that serve the same."""
    return _digest(sorted(served))


def _digest(rows: list[tuple[str, str, str]]) -> str:
    lines = "\n".join(["\t".join(row) for row in rows])
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


class ServedVersions:
    """What is served, kept in order, so that `index_version` of thousands of documents costs no sort after each change."""

    def __init__(self, encoder: str) -> None:
        self._encoder = encoder
        self._rows: list[tuple[str, str, str]] = []
        self._versions: dict[str, str] = {}
        self._digest: str | None = None

    def put(self, policy_id: str, version: str) -> None:
        """The policy is served in this version from now on."""
        self.drop(policy_id)
        bisect.insort(self._rows, (policy_id, version, self._encoder))
        self._versions[policy_id] = version

    def drop(self, policy_id: str) -> None:
        """The policy is not served any more."""
        self._digest = None
        version = self._versions.pop(policy_id, None)
        if version is not None:
            del self._rows[bisect.bisect_left(self._rows, (policy_id, version, self._encoder))]

    @property
    def digest(self) -> str:
        """See `index_version`."""
        if self._digest is None:
            self._digest = _digest(self._rows)
        return self._digest
