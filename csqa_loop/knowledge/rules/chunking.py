"""Markdown to chunks: one per section, and several where a section is long. Deterministic, for Chinese and English.

The section (its heading path) does not depend on the section's text or on the limit: what is held out is decided by it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from csqa_loop.knowledge.formats.blocks import Block, Section, outline
from csqa_loop.knowledge.formats.markdown import read_document
from csqa_loop.knowledge.rules.packing import packed

PATH_SEPARATOR = " > "


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


def title_of(text: str) -> str:
    """The front matter's title, else the first heading; empty where there is neither."""
    document = read_document(text)
    return document.title or next((section.heading for section in outline(document.body).sections if section.level), "")


def is_empty(text: str) -> bool:
    """Whether a reader sees nothing of it: no heading and no text."""
    return not any(section.level or any(block.text for block in section.blocks) for section in outline(read_document(text).body).sections)


def chunk_markdown(text: str, limit: int) -> tuple[Passage, ...]:
    """The passages of a Markdown text, in order; each `Passage.text` has at most `limit` characters (`limit` >= 40).

    Every word that a reader sees is in a passage, in order. What a piece cannot be understood without is repeated before it: the lead-in
    of a list, the items that a nested one stands in, the header row of a table; a footnote stands behind what refers to it.
    """
    document = read_document(text)
    read = outline(document.body)
    passages: list[Passage] = []
    for section, path, shown_below in _with_paths(read.sections, document.title, limit // 2):
        blocks = section.blocks
        if not any(block.text for block in blocks) and (shown_below or not section.level):
            continue  # its heading lives on in the paths of its children
        heading = _heading_within(path, limit // 2)
        if path and section.level and not heading.endswith(path[-1]):
            # Too long to be repeated: it is text, once.
            blocks = [Block(path[-1], "\n"), *(block.moved(1) for block in blocks)]
        room = limit - len(heading) - 1 if heading else limit
        passages.extend(Passage(PATH_SEPARATOR.join(path), heading, part) for part in packed(blocks, heading, read.notes, room) or ("",))
    return tuple(passages)


def _with_paths(sections: list[Section], title: str, limit: int) -> Iterator[tuple[Section, tuple[str, ...], bool]]:
    """(section, its heading path, whether its heading is seen in the first passage below it)."""
    outermost = (title,) if title else ()
    paths: list[tuple[str, ...]] = []
    open_headings: list[tuple[int, tuple[str, ...]]] = []
    for section in sections:
        while open_headings and open_headings[-1][0] >= section.level:
            open_headings.pop()
        outer = open_headings[-1][1] if open_headings else outermost
        # A first heading that repeats the front matter's title is that title, not a section in it.
        repeats = not section.level or outer == outermost == (section.heading,)
        paths.append(outer if repeats else (*outer, section.heading))
        if section.level:
            open_headings.append((section.level, paths[-1]))
    below: tuple[str, ...] = ()
    level_below = 0
    seen: list[bool] = []
    for section, path in zip(reversed(sections), reversed(paths), strict=True):
        seen.append(level_below > section.level and len(PATH_SEPARATOR.join(below[len(path) - 1 :])) <= limit)
        if any(block.text for block in section.blocks) or not seen[-1]:
            below = path
        level_below = section.level
    yield from zip(sections, paths, reversed(seen), strict=True)


def _heading_within(path: tuple[str, ...], limit: int) -> str:
    """The path, without its outermost headings where it would take more than half of the chunk."""
    for start in range(len(path)):
        heading = PATH_SEPARATOR.join(path[start:])
        if len(heading) <= limit:
            return heading
    return path[-1][: limit - 1].rstrip() + "…" if path else ""
