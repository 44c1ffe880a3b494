"""A policy document: a Markdown text with a version, a title and a language."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

_FENCE = "---"
_PROPERTY = re.compile(r"^([A-Za-z_][\w-]*)\s*:(?:\s+(.*))?$")
_CONTINUATION = re.compile(r"^(\s+\S.*|-\s.*|#.*|)$")


@dataclass(frozen=True, slots=True)
class Document:
    """A policy text without its front matter, and what the front matter says."""

    body: str
    title: str = ""
    language: str = ""
    category: str = ""
    """What kind of matter it is, for reports and for the mix of training data; empty: not said."""


def policy_version(text: str) -> str:
    """12 hex of the SHA-256 of the whole text, front matter included: any change of a file is a new version."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def chunk_id(policy_id: str, version: str, number: int) -> str:
    """Names one chunk of one version for ever; `number` counts from 0."""
    return f"{policy_id}@{version}#{number}"


def index_version(served: Iterable[tuple[str, str, str]]) -> str:
    """12 hex over the sorted (policy_id, version, encoder): equal on all gateways that serve the same."""
    lines = "\n".join("\t".join(row) for row in sorted(served))
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def read_document(text: str) -> Document:
    """Take the front matter off a Markdown text.

    Front matter is a first line `---`, then `key: value` lines, then `---`. Anything else at the start is text, so that a document that
    merely begins with a rule loses nothing.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    first, *rest = text.split("\n")
    if first.rstrip() != _FENCE:
        return Document(body=text)
    lines = [line.rstrip() for line in rest]
    if _FENCE not in lines:
        return Document(body=text)
    end = lines.index(_FENCE)
    properties: dict[str, str] = {}
    for line in lines[:end]:
        found = _PROPERTY.match(line)
        if found:
            properties[found[1].lower()] = _unquoted(found[2] or "")
        elif not _CONTINUATION.match(line):
            return Document(body=text)
    language = properties.get("language") or properties.get("lang") or ""
    return Document("\n".join(rest[end + 1 :]), properties.get("title", ""), language, properties.get("category", ""))


def _unquoted(value: str) -> str:
    value = value.strip()
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value
