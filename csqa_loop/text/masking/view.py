"""The one spelling of a text on which all rules look, and the quick look that tells whether any of them has to."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from csqa_loop.text.masking.labels import STEMS, STEMS_ASCII

_UNEVEN = "\uffff"
"""In a translated text: here stands a character that becomes none or several. It is no character of its own."""
_DASHES = frozenset(
    "\u2212\u30fc\u2500\u2501\u2043"
)  # beside those that Unicode calls dashes: minus, the long vowel mark, lines, a hyphen bullet
_DOTS = frozenset("\u2022\u30fb\u2219\u22c5\u2027\u25cf\u0387")
_SLASHES = frozenset("\u2044\u2215\u29f8")
_NOT_SEEN = frozenset("\u115f\u1160\u3164\uffa0\u034f")
_MARKS = ((0x300, 0x36F), (0x180B, 0x180F), (0x20D0, 0x20FF), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))


class View:
    """How a text reads, and where each of its characters came from."""

    __slots__ = ("_even", "_origin", "_original", "text")

    def __init__(self, original: str, text: str, *, even: bool) -> None:
        self.text = text
        self._original = original
        self._even = even
        """Whether every character stands in its place."""
        self._origin: tuple[int, ...] = ()

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where in the original the characters from `start` to `end` stand, with the accents of the last one."""
        if self._even:
            return start, end
        if not self._origin:
            pieces = (len(character.translate(_FULL)) for character in self._original)
            self._origin = tuple(place for place, size in enumerate(pieces) for _ in range(size))
        first, last = self._origin[start], self._origin[end - 1] + 1
        while last < len(self._original) and unicodedata.category(self._original[last]) in {"Mn", "Me"}:
            last += 1
        return first, last


def view_of(text: str) -> View:
    """NFKC a character at a time, without what cannot be seen; digits of all scripts, dashes, dots and slashes have one form each."""
    if text.isascii():
        return View(text, text, even=True)
    seen = text.translate(_TABLE)
    if _UNEVEN not in seen:
        return View(text, seen, even=True)
    return View(text, text.translate(_FULL), even=False)


def _plain(character: str) -> str:
    if character.isascii():
        return character
    if _hidden(character):
        return ""
    return "".join(map(_one_form, unicodedata.normalize("NFKC", character)))


def _hidden(character: str) -> bool:
    code = ord(character)
    return character in _NOT_SEEN or unicodedata.category(character) == "Cf" or any(first <= code <= last for first, last in _MARKS)


def _one_form(character: str) -> str:
    if character.isascii():
        return character
    if _hidden(character):
        return ""
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    if character in _DASHES or unicodedata.category(character) == "Pd":
        return "-"
    if character in _DOTS:
        return "·"
    return "/" if character in _SLASHES else " " if character == "\u2800" else character


class _Table(dict[int, str]):
    """Filled as characters turn up; `even`: what becomes none or several characters is marked instead."""

    def __init__(self, *, even: bool) -> None:
        super().__init__({code: chr(code) for code in range(128)})
        self._even = even

    def __missing__(self, code: int) -> str:
        plain = _plain(chr(code))
        shown = _UNEVEN if self._even and len(plain) != 1 else plain
        if code <= 0xFFFF:  # the rest is rare, and would let the table grow without end
            self[code] = shown
        return shown


_TABLE, _FULL = _Table(even=True), _Table(even=False)


# What a text may hold, for the rules to ask.
ADDRESS, SEVEN, SIX, FOUR, QUAD, COLONS, HANDLE = 1, 2, 4, 8, 16, 32, 64

_SHAPE = bytes(
    48 if 48 <= code <= 57 else 97 if chr(code).isalpha() and code < 128 else code if chr(code) in "@." else 32 for code in range(256)
)
"""Bytes of a text to digits, letters, at signs, dots and the rest."""
# Numbers have six digits close together at least; with just six, letters must stand right before them, as in some documents.
# Only a number that is called a document's or an account's may be shorter: four digits in a word.
_CLOSE = re.compile(rb"0(?:[^0]{0,3}0){5}")
_CLOSER = re.compile(rb"0(?:[^0]{0,3}0){6}")
# One or two letters before the first digit, looked for from that digit on: there are far fewer of these.
_LETTERED = re.compile(rb"0(?:(?<=[^a0]a0)|(?<=[^a0]aa0)|(?<=[^a0]a 0)|(?<=[^a0]aa 0))0(?: ?00 ?00|(?<=[^a0]aa00)(?: ?[a0]){11})")
_FOUR = re.compile(rb"0(?:a{0,2}0){3}")
_QUAD = re.compile(rb"0\.0{1,3}\.0{1,3}\.0")
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")
_HANDLES = ("echat", "eixin", "vx", "微信", "薇信", "v信", "微博", "elegram", "kype", "ine id")
"""Parts of the words that announce somebody's name in a network: without it, nothing there has to be looked at."""
_ANNOUNCED = re.compile("[:=：＝@_号號]")
# Nothing but emoji and ideographs stands in the planes between.
_RANGES = ((0x80, 0x33FF), (0xA000, 0xABFF), (0xFB00, 0xFFFE))
_FAR = "\U00010000-\U0001bfff\U0001d400-\U0001f2ff\U0001fb00-\U0001fbff\U000e0000-\U000e0fff"


_IN_EMOJI = (0x200D, 0xFE0F)
"""These stand in every second message; few of them hide no number from the quick look."""


@cache
def _foreign() -> re.Pattern[str]:
    """Characters that are digits, letters, dots, colons or at signs in another form, or cannot be seen. Made when it is first needed."""
    codes = (code for first, last in _RANGES for code in range(first, last))
    found = "".join(chr(code) for code in codes if code not in _IN_EMOJI and _telling(_plain(chr(code))))
    return re.compile(f"[{found}{_FAR}]")


def _telling(plain: str) -> bool:
    return not plain or any(character.isascii() and (character.isalnum() or character in "@.") for character in plain)


class Clues(NamedTuple):
    """What a quick look found."""

    found: int
    """`ADDRESS`, `SEVEN` (digits close together), and so on; 0: there is nothing."""
    shape: bytes
    """A space, and then a byte a character: 0 for digits, a for letters, at signs and dots as they are, a space for all else."""


def clues(text: str) -> Clues:
    """What `text` may hold."""
    seen = text if text.isascii() or _foreign().search(text) is None else view_of(text).text
    shape = b" " + seen.encode("ascii", "replace").translate(_SHAPE)
    found = ADDRESS if b"@" in shape else 0
    if b"0" in shape:
        if _CLOSE.search(shape):
            found |= SEVEN if _CLOSER.search(shape) else 0
            found |= SIX if _LETTERED.search(shape) else 0
        if (found & SEVEN or _FOUR.search(shape)) and _holds(seen.lower(), STEMS_ASCII if seen.isascii() else STEMS):
            found |= FOUR
        if b"0.0" in shape and _QUAD.search(shape):
            found |= QUAD
        if ":" in seen and _COLONS.search(seen):
            found |= COLONS
    if (b"0" in shape or _ANNOUNCED.search(seen)) and _holds(seen.lower(), _HANDLES):
        found |= HANDLE
    return Clues(found, shape)


def _holds(lowered: str, words: Iterable[str]) -> bool:
    for word in words:  # noqa: SIM110 - a generator would take as long as all the looking
        if word in lowered:
            return True
    return False


class Taken:
    """Which characters of a view belong to a finding already."""

    def __init__(self, length: int) -> None:
        self._marks = bytearray(length)

    def add(self, start: int, end: int) -> None:
        """From `start` to `end`, for good."""
        self._marks[start:end] = b"\1" * (end - start)

    def free(self, start: int, end: int) -> bool:
        """Whether none of these characters is taken."""
        return self._marks.find(1, start, end) < 0


class Finding(NamedTuple):
    """A place that a rule knows: personal, or (label None) not to be touched by the rules after it."""

    start: int
    end: int
    label: str | None


Find = Callable[[str, Clues], Iterator[Finding]]
