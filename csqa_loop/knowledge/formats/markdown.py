"""Markdown with front matter: the text, and what its author says about it."""

import re
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
