"""The one spelling of a text on which all rules look, and the quick look that tells whether any of them has to."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from csqa_loop.text.masking.labels import HAN_STEMS, STEMS

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
_HANDLES, _HAN_HANDLES = ("echat", "eixin", "vx"), ("微信", "薇信", "v信", "V信")
"""Parts of the words that announce somebody's name in a network: without it, nothing there has to be looked at."""
_RANGES = ((0x80, 0x33FF), (0xA000, 0xABFF), (0xFB00, 0xFFFE))
"""Where characters that tell something may stand, beside ideographs, which tell nothing."""
_FAR = "\U00010000-\U0001f2ff"
"""Digits and letters of the far planes. Emoji stand behind them; each further range would be asked for every ideograph."""
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


_NOTHING = Clues(0, b"")


def clues(text: str) -> Clues:
    """What `text` may hold. Most texts hold nothing, and nearly all pass through here: what is cheap and rules out much comes first."""
    ascii_alone = text.isascii()
    seen = text if ascii_alone or _foreign().search(text) is None else view_of(text).text
    plain = seen.encode("ascii", "replace")
    shape = b" " + plain.translate(_SHAPE)
    found = ADDRESS if b"@" in shape else 0
    digits = shape.count(b"0")
    if digits >= 4:  # with fewer there is no number
        if digits >= 6 and _CLOSE.search(shape):
            found |= SEVEN if _CLOSER.search(shape) else 0
            found |= SIX if _LETTERED.search(shape) else 0
        if (found & SEVEN or b"0000" in shape or (b"0a" in shape and _FOUR.search(shape))) and _holds(
            plain.lower().decode(), seen, STEMS if b"aa" in shape else (), HAN_STEMS
        ):
            found |= FOUR
        if b"0.0" in shape and _QUAD.search(shape):
            found |= QUAD
        if ":" in seen and _COLONS.search(seen):
            found |= COLONS
    if ascii_alone:
        # A name that is not announced by a sign has a digit behind a letter.
        if (b"a0" in shape or ":" in seen or "_" in seen or "=" in seen) and _holds(seen.lower(), seen, _HANDLES, ()):
            found |= HANDLE
    elif _holds(seen, seen, _HAN_HANDLES, ()) or (b"aa" in shape and _holds(plain.lower().decode(), seen, _HANDLES, ())):
        found |= HANDLE
    return Clues(found, shape) if found else _NOTHING


def _holds(plain: str, seen: str, words: Iterable[str], han: Iterable[str]) -> bool:
    """Whether one of the words is there; `plain` is `seen` in ASCII and lower case."""
    for word in words:
        if word in plain:
            return True
    if not seen.isascii():
        for word in han:
            if word in seen:
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
