"""Markdown to chunks: one per section, and several where a section is long. Deterministic, for Chinese and English.

The section (its heading path) does not depend on the section's text or on the limit: what is held out is decided by it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from csqa_loop.knowledge.formats.markdown import Document, read_document

PATH_SEPARATOR = " > "
_ATX = re.compile(r"^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r"^ {0,3}(=+|-+)[ \t]*$")
_CODE_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_NOT_A_PARAGRAPH = re.compile(r"^(\s{4,}|\s*([-*+>|]|\d+[.)])(\s|$))")
# From coarse to fine. Each keeps the separator with the piece before it, so that joining the pieces gives the text back.
_BOUNDARIES = tuple(
    re.compile(pattern)
    for pattern in (
        r"\n[ \t]*\n\s*",  # paragraphs
        r"\n",  # lines: list items, table rows
        r"(?<=[.!?])[\"')\]]*\s+|[。！？；…]+[”’」』）]*",  # sentences
        r"[,;:]\s+|[，、：]",  # clauses
        r"\s+",  # words
    )
)


@dataclass(frozen=True, slots=True)
class Passage:
    """One retrievable piece of a document. `section` is the heading path, `body` the text under it."""

    section: str
    heading: str
    body: str

    @property
    def text(self) -> str:
        """What is embedded and shown to the model: it begins with the heading path, so it stands alone."""
        return "\n".join(part for part in (self.heading, self.body) if part)


@dataclass(slots=True)
class _Section:
    level: int
    path: tuple[str, ...]
    lines: list[str]
    has_children: bool = False


def title_of(text: str) -> str:
    """The front matter's title, else the first heading; empty where there is neither."""
    document = read_document(text)
    if document.title:
        return document.title
    return next((section.path[-1] for section in _sections(document) if section.level), "")


def chunk_markdown(text: str, limit: int) -> tuple[Passage, ...]:
    """The passages of a Markdown text, in order; each `Passage.text` has at most `limit` characters (`limit` >= 40).

    Every non-blank character of the body is in exactly one passage, and every heading in at least one passage's section.
    """
    passages: list[Passage] = []
    for section in _sections(read_document(text)):
        body = "\n".join(section.lines).strip()
        if not body and (section.has_children or not section.level):
            continue  # its heading lives on in the paths of its children
        path = PATH_SEPARATOR.join(section.path)
        heading = _heading_within(section.path, limit // 2)
        room = limit - len(heading) - 1 if heading else limit
        passages.extend(Passage(path, heading, part) for part in (_parts(body, room) if body else ("",)))
    return tuple(passages)


def _heading_within(path: tuple[str, ...], limit: int) -> str:
    """The path, without its outermost headings where it would take more than half of the chunk."""
    for start in range(len(path)):
        heading = PATH_SEPARATOR.join(path[start:])
        if len(heading) <= limit:
            return heading
    return path[-1][: limit - 1].rstrip() + "…" if path else ""


def _sections(document: Document) -> list[_Section]:
    title = (document.title,) if document.title else ()
    sections = [_Section(level=0, path=title, lines=[])]
    open_headings: list[_Section] = []
    for level, line in _marked_lines(document.body):
        if not level:
            sections[-1].lines.append(line)
            continue
        while open_headings and open_headings[-1].level >= level:
            open_headings.pop()
        if open_headings:
            open_headings[-1].has_children = True
        outer = open_headings[-1].path if open_headings else title
        # A first heading that repeats the front matter's title is that title, not a section in it.
        path = outer if outer == title == (line,) else (*outer, line)
        section = _Section(level, path, [])
        open_headings.append(section)
        sections.append(section)
    return sections


def _marked_lines(body: str) -> Iterator[tuple[int, str]]:
    """(heading level or 0, heading text or the line as it is)."""
    lines = body.split("\n")
    fence = ""
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        code = _CODE_FENCE.match(line)
        if code and not fence:
            fence = code[1]
        elif code and code[1].startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
        elif not fence:
            heading = _ATX.match(line)
            if heading and heading[2]:
                yield len(heading[1]), heading[2].strip()
                continue
            underline = _SETEXT.match(lines[number]) if number < len(lines) else None
            alone = number == 1 or not lines[number - 2].strip()
            if underline and alone and line.strip() and not _NOT_A_PARAGRAPH.match(line):
                number += 1
                yield (1 if underline[1][0] == "=" else 2), line.strip()
                continue
        yield 0, line


def _parts(text: str, room: int) -> list[str]:
    return [part.strip() for part in _split(text, room, 0) if part.strip()]


def _split(text: str, room: int, level: int) -> list[str]:
    """Pieces that join to `text`, each at most `room` characters when stripped, cut at the coarsest boundary that allows it."""
    if len(text.strip()) <= room:
        return [text]
    if level == len(_BOUNDARIES):
        return [text[start : start + room] for start in range(0, len(text), room)]
    parts: list[str] = []
    open_part = ""
    for piece in _pieces(text, _BOUNDARIES[level]):
        if len((open_part + piece).strip()) <= room:
            open_part += piece
            continue
        if open_part:
            parts.append(open_part)
        *whole, open_part = _split(piece, room, level + 1)
        parts.extend(whole)
    return [*parts, open_part] if open_part else parts


def _pieces(text: str, boundary: re.Pattern[str]) -> Iterator[str]:
    start = 0
    for found in boundary.finditer(text):
        if found.end() > start:
            yield text[start : found.end()]
            start = found.end()
    if start < len(text):
        yield text[start:]
