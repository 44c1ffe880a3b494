"""Markdown as sections of blocks, each with the blocks that it cannot be understood without."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from markdown_it import MarkdownIt
from markdown_it.token import Token

from csqa_loop.knowledge.formats.markup import lines_of_html, visible

SENTENCE_END = r"(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)[\"')\]]*\s+(?![a-z])|[。！？；…]+[”’」』）]*\s*"
NOTE_REFERENCE = re.compile(r"\[\^([^\]\s]+)\]")
_NOTE = re.compile(r"^[ \t>]*\[\^([^\]\s]+)\]:")
_SENTENCE_END = re.compile(SENTENCE_END)
_INTRODUCING = re.compile(r"[:：][*_\"'”’)）\s]*$")
_ITEM_LINE = re.compile(r"^\s*(?:[•·●○▪◦‣∙➢✓✔–—][ \t]*\S|[(（]?(?:\d{1,2}|[a-z]|[ivx]{1,4}|[一二三四五六七八九十]{1,3})[)）、．]|[①-⑳])")
"""What people write for a list where Markdown sees lines of a paragraph."""
_TWO_LETTERS = re.compile(r"\w.*?\w", re.DOTALL)
_DELIMITERS = re.compile(r"[-\s|:>*+]+")
_DASHES = re.compile(r"-{4,}")
_WITHOUT_TEXT = re.compile(r"[\s>]*(?:(?:[-*+]|\d+[.)])\s*)*")
_LISTS = ("bullet_list_open", "ordered_list_open")
_DEEPEST = 60

# Link definitions are left where they stand, as text. Inline markup stays as it is written.
_PARSER = MarkdownIt("commonmark", {"maxNesting": _DEEPEST}).enable("table").disable("reference")


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, the own text of a list item, a row of a table, a piece of code: as it is written, less HTML."""

    text: str
    gap: str
    """What stands between it and the block before."""
    needs: tuple[int, ...] = ()
    """Places in its section of the blocks that it is read with, outermost first: lead-in, items that it stands in, header row."""
    is_row: bool = False

    def moved(self, by: int) -> "Block":
        """The same where `by` more blocks stand before it."""
        return replace(self, needs=tuple(place + by for place in self.needs))


@dataclass(slots=True)
class Section:
    """A heading (level 1 to 6; 0 for what stands before the first one) and the blocks under it."""

    level: int
    heading: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outline:
    """A document's sections in order, and the footnotes that its text refers to, by label."""

    sections: list[Section]
    notes: dict[str, str]


def outline(body: str) -> Outline:
    """Read a Markdown text as CommonMark with tables and footnotes defines it. Headings in lists and quotations open no section."""
    return _Reader(body).read()


class _Reader:
    """One pass over the tokens of a document; a leaf becomes one block or several, in the order of the text."""

    def __init__(self, body: str) -> None:
        self._lines = body.split("\n")
        self._tokens: Sequence[Token] = _PARSER.block.parse(body, _PARSER, {}, []) or ()
        self._sections = [Section(0, "")]
        self._read_to = 0
        self._notes: dict[str, str] = {}
        self._note_places: dict[str, tuple[list[Block], int]] = {}
        self._open_note = ""

    def read(self) -> Outline:
        self._siblings(0, (), ())
        self._keep_skipped(len(self._lines))
        return Outline(self._sections, self._notes_referred_to())

    def _siblings(self, at: int, needs: tuple[int, ...], lead: tuple[int, ...], *, of_item: bool = False) -> int:
        """Take the blocks of one container from token `at` on; gives the token behind its end."""
        while at < len(self._tokens):
            token = self._tokens[at]
            if token.nesting < 0:
                return at + 1
            if token.type in _LISTS:
                at = self._items(at + 1, _joined(needs, lead))
            elif token.type == "blockquote_open":
                at = self._siblings(at + 1, needs, lead)
            else:
                before = len(self._sections[-1].blocks)
                behind = self._behind(at)
                lead = self._leaf(token, behind, needs, lead)
                at = behind
                own = tuple(range(before, len(self._sections[-1].blocks)))
                if of_item and own:
                    needs, of_item = _joined(needs, own), False
        return at

    def _items(self, at: int, needs: tuple[int, ...]) -> int:
        while self._tokens[at].nesting > 0:
            at = self._siblings(at + 1, needs, (), of_item=True)
        return at + 1

    def _behind(self, at: int) -> int:
        """The token behind the leaf that begins at token `at`."""
        token = self._tokens[at]
        if not token.nesting:
            return at + 1
        at += 1
        while self._tokens[at].level != token.level:
            at += 1
        return at + 1

    def _leaf(self, token: Token, behind: int, needs: tuple[int, ...], lead: tuple[int, ...]) -> tuple[int, ...]:
        """Take one leaf; gives what introduces a list that follows it."""
        start, end = token.map or (self._read_to, self._read_to)
        self._keep_skipped(start)
        gap = "\n\n" if start > self._read_to else "\n"
        self._read_to = end
        lines = self._lines[start:end]
        if token.type == "code_block" and self._open_note:
            self._continue_note(token.content)
            return lead
        self._open_note = ""
        if token.type == "heading_open" and token.level == 0:
            heading = " ".join(visible(self._tokens[behind - 2].content).split())
            if heading:
                self._sections.append(Section(int(token.tag[1:]), heading))
            return ()
        if token.type in ("paragraph_open", "heading_open"):
            return self._paragraph(visible("\n".join(lines)), gap, needs, lead, self._follower(behind))
        if token.type == "table_open":
            told = [_row(line) for line in lines]
            self._table("\n".join(told[:2]), told[2:], gap, needs, lead)
        elif token.type == "html_block":
            return self._html("\n".join(lines), gap, needs, lead)
        else:
            self._add("\n".join(lines), gap, needs)
        return ()

    def _add(self, text: str, gap: str, needs: tuple[int, ...], *, is_row: bool = False) -> tuple[int, ...]:
        blocks = self._sections[-1].blocks
        if not text.strip():
            return ()
        blocks.append(Block(text.rstrip(), gap, needs, is_row))
        return (len(blocks) - 1,)

    def _paragraph(self, text: str, gap: str, needs: tuple[int, ...], lead: tuple[int, ...], follower: str) -> tuple[int, ...]:
        """A paragraph with its last sentence as a block of its own where that introduces what follows."""
        for part in _parts(text.split("\n")):
            note = _NOTE.match(part)
            if note:
                self._note(note[1].casefold(), part, gap, needs)
            elif _ITEM_LINE.match(part):
                self._add(part, gap, _joined(needs, lead))
            else:
                cut = _last_sentence(part) if follower == "list" or (follower == "table" and _INTRODUCING.search(part)) else 0
                rest = part[:cut].rstrip()
                self._add(rest, gap, needs)
                lead = self._add(part[cut:], part[len(rest) : cut] if cut else gap, needs) or lead
                follower = ""
            gap = "\n"
        return lead

    def _table(self, header: str, rows: Iterable[str], gap: str, needs: tuple[int, ...], lead: tuple[int, ...]) -> None:
        needs = _joined(needs, self._introducing(lead))
        needs = _joined(needs, self._add(header, gap, needs, is_row=True))
        for row in rows:
            self._add(row, "\n", needs, is_row=True)

    def _introducing(self, lead: tuple[int, ...]) -> tuple[int, ...]:
        """A table explains itself with its header: the sentence before it belongs to it only where it says so."""
        return lead if lead and _INTRODUCING.search(self._sections[-1].blocks[lead[-1]].text) else ()

    def _html(self, text: str, gap: str, needs: tuple[int, ...], lead: tuple[int, ...]) -> tuple[int, ...]:
        header: tuple[int, ...] = ()
        for line, is_row in lines_of_html(text):
            if is_row:
                added = self._add(line, gap, header or _joined(needs, self._introducing(lead)), is_row=True)
                header = header or _joined(needs, (*self._introducing(lead), *added))
            elif line.startswith("- "):
                self._add(line, gap, _joined(needs, lead))
            else:
                lead, header = self._add(line, gap, needs) or lead, ()
            gap = "\n"
        return lead

    def _follower(self, at: int) -> str:
        """`list` or `table` where token `at` begins one, perhaps in a quotation or behind a comment."""
        while at < len(self._tokens):
            token = self._tokens[at]
            if token.type == "paragraph_open" and token.map:
                return "list" if _ITEM_LINE.match(self._lines[token.map[0]].lstrip("> \t")) else ""
            if token.type == "html_block":
                line, is_row = next(iter(lines_of_html(token.content)), ("", False))
                if line:
                    return "table" if is_row else "list" if line.startswith("- ") else ""
            elif token.type != "blockquote_open":
                return "list" if token.type in _LISTS else "table" if token.type == "table_open" else ""
            at += 1
        return ""

    def _note(self, label: str, text: str, gap: str, needs: tuple[int, ...]) -> None:
        blocks = self._sections[-1].blocks
        self._add(text, gap, needs)
        if label not in self._notes:  # the first one counts
            self._notes[label] = text.strip()
            self._note_places[label] = (blocks, len(blocks) - 1)
            self._open_note = label

    def _continue_note(self, text: str) -> None:
        label = self._open_note
        blocks, place = self._note_places[label]
        self._notes[label] += "\n" + text.rstrip()
        blocks[place] = replace(blocks[place], text=self._notes[label])

    def _notes_referred_to(self) -> dict[str, str]:
        """The notes that the text refers to, also by way of another note; their definitions are taken out of the text."""
        definitions = {(id(blocks), place) for blocks, place in self._note_places.values()}
        texts = [section.heading for section in self._sections]
        for section in self._sections:
            texts += [block.text for place, block in enumerate(section.blocks) if (id(section.blocks), place) not in definitions]
        referred = list(labels_in("\n".join(texts), self._notes)) if self._notes else []
        met = set(referred)
        for label in referred:
            new = [one for one in labels_in(self._notes[label], self._notes) if one not in met]
            met.update(new)
            referred += new
        for label in referred:
            blocks, place = self._note_places[label]
            blocks[place] = replace(blocks[place], text="")
        return {label: self._notes[label] for label in referred}

    def _keep_skipped(self, end: int) -> None:
        """Lines that the parser passes over, because they are nested deeper than anybody reads, are text all the same."""
        for number in range(self._read_to, end):
            if not _WITHOUT_TEXT.fullmatch(self._lines[number]):
                self._add(self._lines[number], "\n", ())
                self._read_to = number + 1


def labels_in(text: str, notes: Mapping[str, str]) -> tuple[str, ...]:
    """The notes that a text refers to, each once, in the order of the text."""
    return tuple(dict.fromkeys(label for one in NOTE_REFERENCE.findall(text) if (label := one.casefold()) in notes))


def _joined(needs: tuple[int, ...], more: tuple[int, ...]) -> tuple[int, ...]:
    return (*needs, *(place for place in more if place not in needs))


def _row(line: str) -> str:
    """A row of a table on one line, without what only aligns its columns."""
    row = " ".join(visible(line).split())
    return _DASHES.sub("---", row) if _DELIMITERS.fullmatch(row) else row


def _parts(lines: list[str]) -> list[str]:
    """The lines of a paragraph, apart where a footnote or something written as a list item begins."""
    parts = [lines[:1]]
    for line in lines[1:]:
        if _NOTE.match(line) or (_ITEM_LINE.match(line) and not _NOTE.match(parts[-1][0])):
            parts.append([])
        parts[-1].append(line)
    return ["\n".join(part) for part in parts]


def _last_sentence(text: str) -> int:
    """Where the last sentence begins."""
    starts = [found.end() for found in _SENTENCE_END.finditer(text) if found.end() < len(text.rstrip())]
    return starts[-1] if starts and _TWO_LETTERS.search(text[: starts[-1]]) else 0
