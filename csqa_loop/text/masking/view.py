"""The one spelling of a text on which all rules look, and the quick look that tells whether any of them has to."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from typing import NamedTuple

_UNEVEN = "\uffff"
"""In a translated text: here stands a character that becomes none or several. It is no character of its own."""
_DASHES = frozenset(
    "\u2212\u30fc\u2500\u2501\u2043"
)  # beside those that Unicode calls dashes: minus, the long vowel mark, lines, a hyphen bullet
_DOTS = frozenset("\u2022\u30fb\u2219\u22c5\u2027\u25cf\u0387")
_SLASHES = frozenset("\u2044\u2215\u29f8")
_NOT_SEEN = frozenset("\u115f\u1160\u3164\uffa0\u034f")
_MARKS = ((0x300, 0x36F), (0x180B, 0x180F), (0x20D0, 0x20FF), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))


class View(NamedTuple):
    """How a text reads, and where each of its characters came from."""

    text: str
    origin: tuple[int, ...] | None
    """Places in the original; None where every character stands in its place."""

    def span(self, original: str, start: int, end: int) -> tuple[int, int]:
        """Where in `original` the characters from `start` to `end` stand, with the accents of the last one."""
        if self.origin is None:
            return start, end
        first, last = self.origin[start], self.origin[end - 1] + 1
        while last < len(original) and unicodedata.combining(original[last]) + (unicodedata.category(original[last]) in {"Mn", "Me"}):
            last += 1
        return first, last


def view_of(text: str) -> View:
    """NFKC a character at a time, without what cannot be seen; digits of all scripts, dashes, dots and slashes have one form each."""
    if text.isascii():
        return View(text, None)
    seen = text.translate(_TABLE)
    if _UNEVEN not in seen:
        return View(seen, None)
    pieces = [(place, _plain(character)) for place, character in enumerate(text)]
    return View("".join(piece for _, piece in pieces), tuple(place for place, piece in pieces for _ in piece))


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
    """Filled as characters turn up."""

    def __missing__(self, code: int) -> str:
        plain = _plain(chr(code))
        shown = plain if len(plain) == 1 else _UNEVEN
        if code <= 0xFFFF:  # the rest is rare, and would let the table grow without end
            self[code] = shown
        return shown


_TABLE = _Table({code: chr(code) for code in range(128)})


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
_COLONS = re.compile(r"[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]*[0-9A-Fa-f]")
_HANDLES = (
    "echat",
    "eChat",
    "ECHAT",
    "微信",
    "薇信",
    "eixin",
    "elegram",
    "kype",
    "微博",
    "vx",
    "VX",
    "Vx",
    "V信",
    "v信",
    "ine ID",
    "INE ID",
    "ine id",
)
"""Parts of the words that announce somebody's name in a network: without it, nothing there has to be looked at."""
# Nothing but emoji and ideographs stands in the planes between.
_RANGES = ((0x80, 0x33FF), (0xA000, 0xABFF), (0xFB00, 0xFFFE))
_FAR = "\U00010000-\U0001bfff\U0001d400-\U0001f2ff\U0001fb00-\U0001fbff\U000e0000-\U000e0fff"


@cache
def _foreign() -> re.Pattern[str]:
    """Characters that are digits, letters, dots, colons or at signs in another form, or cannot be seen. Made when it is first needed."""
    codes = (code for first, last in _RANGES for code in range(first, last))
    found = "".join(chr(code) for code in codes if _telling(_plain(chr(code))))
    return re.compile(f"[{found}{_FAR}]")


def _telling(plain: str) -> bool:
    return not plain or any(character.isascii() and (character.isalnum() or character in "@.") for character in plain)


def clues(text: str, words: Callable[[str], bool]) -> int:
    """What of `ADDRESS`, `SEVEN` (digits close together), and so on, `text` may hold. `words`: whether four digits could be a document's."""
    seen = text if text.isascii() or _foreign().search(text) is None else view_of(text).text
    shape = b" " + seen.encode("ascii", "replace").translate(_SHAPE)
    found = ADDRESS if b"@" in shape else 0
    if b"0" in shape:
        if _CLOSE.search(shape):
            found |= SEVEN if _CLOSER.search(shape) else 0
            found |= SIX if _LETTERED.search(shape) else 0
        if (found & SEVEN or _FOUR.search(shape)) and words(seen):
            found |= FOUR
        if b"0.0" in shape and _QUAD.search(shape):
            found |= QUAD
        if seen.count(":") + seen.count("：") > 1 and _COLONS.search(view_of(seen).text):
            found |= COLONS
    for word in _HANDLES:
        if word in seen:
            return found | HANDLE
    return found


@lru_cache(maxsize=4)
def _lowered(text: str) -> str:
    return text.lower() if text.isascii() else text.casefold().replace("ı", "i").replace("\u0307", "")


def holds(text: str, words: Iterable[str]) -> bool:
    """Wherever a pattern finds a word whatever its case, this does too."""
    folded = _lowered(text)
    for word in words:  # noqa: SIM110 - a generator would take as long as all the looking
        if word in folded:
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


Find = Callable[[str], Iterator[Finding]]
