"""The blocks of one section packed into pieces of a size, each with what gives it meaning."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from csqa_loop.knowledge.formats.blocks import SENTENCE_END, Block, labels_in

# From coarse to fine. Each keeps the separator with the piece before it, so that joining the pieces gives the text back.
_LINES, _SENTENCES, _CLAUSES, _WORDS = range(4)
_BOUNDARIES = tuple(re.compile(pattern) for pattern in (r"\n", SENTENCE_END, r"[,;:]\s+|[，、：]", r"\s+"))
_REPEATED_SHARE = 2
"""What is repeated takes at most one part in so many of a piece, and so do footnotes that were told in full before."""
_SHORTEST = 8
"""Less of a repeated text than this says nothing."""
_MARKER = 3
"""`1. ` ends like a sentence and is none."""


def packed(blocks: Sequence[Block], heading: str, notes: Mapping[str, str], room: int) -> list[str]:
    """The pieces, in order; none has more than `room` characters.

    A piece begins with the blocks that its first one needs, shortened to half of `room` where they are longer; the content is never
    shortened. A paragraph, an item or a row is cut only where it does not fit into a piece with them: between sentences, and within a
    sentence only where that alone is longer than a piece.
    """
    if not notes:
        text = "".join([block.gap + block.text for block in blocks if block.text]).strip()
        if len(text) <= room:
            return [text] if text else []
    packer = _Packer(blocks, heading, notes, room)
    for number, block in enumerate(blocks):
        if block.text:
            packer.take(number, block)
    packer.close()
    return packer.pieces


@dataclass(slots=True)
class _Piece:
    text: str = ""
    begun: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Places of the blocks that begin in it, in order, with the characters and the notes that it had before."""
    continued: set[int] = field(default_factory=set)
    """Places of those that it repeats or goes on with."""
    notes: dict[str, str] = field(default_factory=dict)

    def holds(self, place: int) -> bool:
        return place in self.continued or place in self.begun

    @property
    def whole(self) -> str:
        return "\n".join((self.text.strip(), *self.notes.values())).strip()


class _Packer:
    def __init__(self, blocks: Sequence[Block], heading: str, notes: Mapping[str, str], room: int) -> None:
        self._blocks = blocks
        self._heading = heading
        self._notes = notes
        self._room = room
        self._bound = room // _REPEATED_SHARE
        self._open = _Piece()
        self._begun: set[int] = set()
        self._told: set[str] = set()
        self._late: list[str] = []
        self.pieces: list[str] = []

    def take(self, place: int, block: Block) -> None:
        """Put in a block, and after it the footnotes that found no room beside it."""
        self._place(place, block)
        while self._late:
            label = self._late.pop(0)
            if label not in self._told:
                self._told.add(label)
                self._place(place, Block(self._notes[label], "\n"))

    def close(self) -> None:
        if self._open.text:
            self.pieces.append(self._open.whole)
            self._told.update(label for label, note in self._open.notes.items() if note == self._notes[label])
        self._open = _Piece()

    def _place(self, place: int, block: Block) -> None:
        if not self._takes_whole(place, block):
            self._move_on(block)
            self._fill(place, block, _LINES)

    def _takes_whole(self, place: int, block: Block) -> bool:
        if self._add(self._open, place, block):
            return True
        led = self._only_leads(block)
        for fresh in (led, _Piece()):
            if fresh is not None and self._add(fresh, place, block):
                self._turn_to(fresh)
                return True
        fresh = _Piece()
        if block.is_row and self._add(fresh, place, block, shortening=True):
            self._turn_to(fresh)
            return True
        return False

    def _move_on(self, block: Block) -> None:
        """Begin a piece for a block that is cut; where nothing but what introduces it stands in the open one, it goes on there."""
        led = self._only_leads(block)
        if led is None or led.begun != self._open.begun:
            self._turn_to(led or _Piece())

    def _only_leads(self, block: Block) -> _Piece | None:
        """A piece with the last blocks of the open one, as far as `block` needs them: a lead-in does not stay behind alone."""
        leads: list[int] = []
        for place in reversed(self._open.begun):
            if place not in block.needs:
                break
            leads.insert(0, place)
        fresh = _Piece()
        fits = all(self._add(fresh, place, self._blocks[place], again=True) for place in leads)
        return fresh if leads and fits else None

    def _turn_to(self, fresh: _Piece) -> None:
        """Close the open piece, without the blocks that begin in `fresh`."""
        for place, (characters, notes) in self._open.begun.items():
            if place in fresh.begun:
                self._open.text = self._open.text[:characters]
                self._open.notes = dict(list(self._open.notes.items())[:notes])
                break
        self.close()
        self._open = fresh

    def _fill(self, place: int, block: Block, level: int) -> None:
        """Cut a block that is too long, at the coarsest boundary that allows it."""
        for text in _cut(block.text, _BOUNDARIES[level], at_least=_MARKER if level == _SENTENCES else 0):
            part = replace(block, text=text, gap="" if place in self._begun else block.gap)
            if self._add(self._open, place, part):
                continue
            self.close()
            if self._add(self._open, place, part):
                continue
            if level in (_SENTENCES, _WORDS) and self._add(self._open, place, part, shortening=True):
                continue
            if level < _WORDS:
                self._fill(place, part, level + 1)
                continue
            width = self._room - self._bound - 1
            for start in range(0, len(text), width):
                self.close()
                self._add(self._open, place, replace(part, text=text[start : start + width]), shortening=True)

    def _add(self, piece: _Piece, place: int, block: Block, *, shortening: bool = False, again: bool = False) -> bool:
        """Put a block into a piece where it fits with what it needs. With `shortening` that gives way as far as it must."""
        missing = [one for one in block.needs if not piece.holds(one)]
        left = self._room - len(block.text.strip())
        bound = min(self._bound, left - 1) if shortening else self._bound
        repeated = "\n".join(_shortened([self._blocks[one].text.strip() for one in missing], bound)) if missing else ""
        text = piece.text + (block.gap if piece.text else "") + (repeated + "\n" if repeated else "") + block.text
        stripped = text.strip()
        if len(stripped) > self._room:
            return False
        notes = self._notes_of(stripped, piece, left if shortening else self._room // 2)
        told = {**piece.notes, **{label: note for label, note in notes.items() if note}}
        if len(stripped) + sum(len(note) + 1 for note in told.values()) > self._room:
            return False
        if again or place not in self._begun:
            piece.begun[place] = (len(piece.text), len(piece.notes))
        self._begun.add(place)
        piece.continued.update((*missing, place))
        piece.text, piece.notes = text, told
        self._late += [label for label in notes if told.get(label) != self._notes[label]]
        return True

    def _notes_of(self, text: str, piece: _Piece, budget: int) -> dict[str, str]:
        """The notes to add for a text, each in full once; empty where there is no room for one."""
        notes: dict[str, str] = {}
        if not self._notes:
            return notes
        budget -= sum(len(note) + 1 for note in piece.notes.values())
        wanted = list(labels_in(f"{self._heading}\n{text}", self._notes))
        for label in wanted:
            if label in piece.notes or label in notes or f"[^{label}]:" in text.casefold():
                continue
            note = self._notes[label]
            full = len(note) < budget and (label not in self._told or len(note) <= self._bound)
            notes[label] = note if full else "".join(_shortened([note], min(self._bound, budget - 1)))
            budget -= len(notes[label]) + 1
            if full:  # else those that it refers to follow it where it is told in full
                wanted += labels_in(note, self._notes)
        return notes


def _shortened(texts: list[str], bound: int) -> list[str]:
    """The texts, the longest of them cut in the middle so that together, a line each, they have at most `bound` characters."""
    allowed = dict.fromkeys(range(len(texts)), 0)
    left = bound
    for rank, place in enumerate(sorted(allowed, key=lambda place: len(texts[place]))):
        allowed[place] = min(len(texts[place]), left // (len(texts) - rank) - 1)
        left -= allowed[place] + 1
    return [_cut_short(text, allowed[place]) for place, text in enumerate(texts) if allowed[place] >= min(_SHORTEST, len(text))]


def _cut_short(text: str, length: int) -> str:
    """Its beginning and its end: what is said of the items stands in either."""
    if len(text) <= length:
        return text
    half = length // 2
    head, tail = text[:half], text[len(text) - (length - half - 1) :]
    at_word, from_word = head.rstrip().rsplit(None, 1)[0], tail.lstrip().split(None, 1)[-1]
    return (at_word if len(at_word) > half // 2 else head) + "…" + (from_word if len(from_word) > half // 2 else tail)


def _cut(text: str, boundary: re.Pattern[str], *, at_least: int) -> Iterator[str]:
    start = 0
    for found in boundary.finditer(text):
        if found.end() > start + at_least:
            yield text[start : found.end()]
            start = found.end()
    if start < len(text):
        yield text[start:]
