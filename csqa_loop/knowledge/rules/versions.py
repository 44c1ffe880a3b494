"""A policy document: a Markdown text with a version, a title and a language."""

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
    lines = "\n".join("\t".join(row) for row in sorted(served))
    return hashlib.sha256(lines.encode()).hexdigest()[:12]
