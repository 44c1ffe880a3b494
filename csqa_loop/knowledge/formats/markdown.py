"""Markdown with front matter: the text, and what its author says about it."""

import re
from dataclasses import dataclass
from typing import Any

import yaml

_OPENING = "---"
_CLOSINGS = ("---", "...")
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


def with_plain_line_ends(text: str) -> str:
    """The text without a byte order mark, its lines ended by LF: what an editor or a checkout changes on its own is no other text."""
    return text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def read_document(text: str) -> Document:
    """Take the front matter off a Markdown text.

    Front matter is a first line `---`, then a YAML mapping, then `---` or `...`. Anything else at the start is text, so that a document
    that merely begins with a rule loses nothing.
    """
    text = with_plain_line_ends(text)
    first, *rest = text.split("\n")
    end = next((number for number, line in enumerate(rest) if line.rstrip() in _CLOSINGS), None)
    if first.rstrip() != _OPENING or end is None:
        return Document(body=text)
    properties = _properties(rest[:end])
    if properties is None:
        return Document(body=text)
    said = {str(key).lower(): _plain(value) for key, value in properties.items()}
    language = said.get("language") or said.get("lang") or ""
    return Document("\n".join(rest[end + 1 :]), said.get("title", ""), language, said.get("category", ""))


def _properties(lines: list[str]) -> dict[Any, Any] | None:
    """What the lines say; None where they are no front matter."""
    try:
        # Every value as it is written: a title such as 2024, 1.10 or `on` stays a text.
        read = yaml.load("\n".join(lines), Loader=yaml.BaseLoader)  # noqa: S506 - BaseLoader makes only strings, lists and mappings
    except (yaml.YAMLError, RecursionError):
        return _lenient_properties(lines)
    if read is None or read == "":
        return {}
    return read if isinstance(read, dict) else None


def _lenient_properties(lines: list[str]) -> dict[Any, Any] | None:
    """`title: Returns: all of them` is no YAML, and clear to everybody."""
    properties: dict[Any, Any] = {}
    for line in lines:
        found = _PROPERTY.match(line.rstrip())
        if found:
            value = (found[2] or "").strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            properties[found[1]] = value[1:-1] if quoted else value
        elif not _CONTINUATION.match(line.rstrip()):
            return None
    return properties


def _plain(value: object) -> str:
    """A text on one line; of a list its first entry."""
    while isinstance(value, list):
        value = value[0] if value else ""
    return " ".join(value.split()) if isinstance(value, str) else ""
