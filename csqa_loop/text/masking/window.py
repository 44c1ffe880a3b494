"""Some groups of digits, taken for one number: does it begin and end there, and which number could it be?"""

import re
from functools import cached_property
from itertools import pairwise

from csqa_loop.text.masking.kept import barcode, counted
from csqa_loop.text.masking.labels import label_of
from csqa_loop.text.masking.numbering import german_mobile, real, real_at_home

FEWEST, MOST = 7, 15
"""Digits of a phone number (ITU-T E.164)."""
FEWEST_AT_HOME, FEWEST_ELSE = 9, 10
"""Digits of a number with its trunk zero, and of one without: in North America."""
_PLUS = re.compile(r"\+ ?\(?\Z")
_LETTERS = re.compile(r"([A-Za-z]+)([0-9]?)")
_EXTENSION = frozenset({"x", "ext", "exp", "cvv", "cvc", "cv"})
_HEX = frozenset("abcdef")
_CHINESE_MOBILE = re.compile(r"(?:0086|86|0)?1[3-9]\d{9}\Z")
_NANP = ((3, 3, 4), (1, 3, 3, 4))


class Window:
    """Groups from `place` to `last` of a run in `view`; `glued`: letters that their word begins with."""

    def __init__(self, view: str, groups: list[tuple[int, int]], place: int, last: int, glued: str) -> None:
        self.view, self.last, self.glued = view, last, glued
        self._groups, self._place = groups, place
        chosen = groups[place : last + 1]
        self.start, self.end = chosen[0][0], chosen[-1][1]
        self.digits = "".join(view[start:end] for start, end in chosen)
        self.sizes = tuple(end - start for start, end in chosen)
        self.between = tuple(view[end:start] for (_, end), (start, _) in pairwise(chosen))

    @property
    def even(self) -> bool:
        """Whether one sign separates all groups, or they are a card's groups."""
        return len(set(self.between)) <= 1 or self.sizes in {(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3)}

    @cached_property
    def ends_well(self) -> bool:
        """Whether the number is over where the window is: no letters of a code, no further groups of the same kind."""
        if self.last + 1 < len(self._groups):
            between = self.view[self.end : self._groups[self.last + 1][0]]
            if " " in between or len(self.digits) >= 12:
                return True
            if len(self.sizes) == 1:
                return between != "." or self._groups[self.last + 1][1] - self._groups[self.last + 1][0] > 3
            return between not in self.between
        letters = _LETTERS.match(self.view, self.end)
        if letters is None:
            return True
        word = letters[1].lower()
        return word in _EXTENSION if letters[2] or len(word) == 1 else not set(word) <= _HEX

    @cached_property
    def begins_well(self) -> bool:
        """Whether the number does not begin in the middle of another one."""
        before = self.view[max(0, self.start - 2) : self.start]
        if self._place:
            between = self.view[self._groups[self._place - 1][1] : self.start]
            if " " not in between and (between in self.between or (len(self.sizes) == 1 and between == ".")):
                return False
        return not (before[-1:] in {",", "."} and before[:1].isdigit() and self.sizes[0] == 3)

    @cached_property
    def counted(self) -> bool:
        """Whether it is an amount of something."""
        return counted(self.view, self.start, self.end)

    @property
    def calendar(self) -> bool:
        """Whether it is a date without signs, or two years."""
        return (
            re.fullmatch(r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", self.digits) is not None and len(self.sizes) == 1
        ) or (self.sizes == (4, 4) and re.fullmatch(r"(?:(?:19|20)\d\d){2}", self.digits) is not None)

    @cached_property
    def good(self) -> bool:
        """Whether the number begins and ends where the window does, and counts nothing."""
        return self.ends_well and self.begins_well and not self.counted

    @cached_property
    def _prefix(self) -> str:
        if _PLUS.search(self.view, max(0, self.start - 3), self.start):
            return "+"
        return "00" if self.digits.startswith("00") and self.digits[2:3] != "0" and not self.glued else ""

    @property
    def dialled(self) -> bool:
        """Whether a sign for a country code stands before it."""
        return self._prefix != ""

    @cached_property
    def abroad(self) -> bool | None:
        """With its country code after + or 00: whether the plan knows it, None for a right length alone."""
        if self._prefix == "00" and (
            len(self.digits) < FEWEST_ELSE or (len(self.sizes) == 1 and barcode(self.digits) and label_of(self.view, self.start) != "phone")
        ):
            return False
        digits = self.digits.removeprefix("00")
        trunk = self.view.find("(0)", self.start, self.end)
        if trunk > 0:  # +44 (0)20: the zero is for callers at home
            place = sum(map(str.isdigit, self.view[self.start : trunk])) - (len(self.digits) - len(digits))
            digits = digits[:place] + digits[place + 1 :]
        return real(digits) if FEWEST <= len(digits) <= MOST else False

    @property
    def chinese_mobile(self) -> bool:
        """1[3-9] and nine more, perhaps after 86; in groups of two and more."""
        digits, sizes = self.digits, self.sizes
        if not 11 <= len(digits) <= 15 or (self.glued and (self.glued.isupper() or not self.glued[-1].isalpha())):
            return False
        if _CHINESE_MOBILE.match(digits) is None:
            return False
        if len(sizes) == 1:
            return True
        if sizes[0] in {2, 4} and self.digits.startswith(("86", "0086")):
            sizes = sizes[1:]
        if sizes[:1] == (4,) and re.match(r"18(?:00|33|44|55|66|77|88)", digits) and sizes == (4, 3, 4):
            return False
        if set(sizes) == {1}:
            return len(set(self.between)) == 1
        return all(size >= 2 for size in sizes) and max(sizes) >= 3 and len(set(self.between)) <= 2

    @property
    def north_american(self) -> bool:
        """An area code, three and four digits, with signs between them."""
        area = self.digits[-10:-7] if len(self.digits) >= 10 else "0"
        if self.sizes not in _NANP or area[0] in "01" or (len(self.sizes) == 4 and self.digits[0] != "1"):
            return False
        between = {sign.strip(" ()") for sign in self.between[-2:]}
        return len(between) == 1 or self.between[-2:][0].startswith(")") or self.between[-1] == "-"

    @property
    def with_trunk(self) -> bool:
        """A zero, an area code and a subscriber's number, in groups that people use for them."""
        digits, sizes = self.digits, self.sizes
        if digits[0] != "0" or digits[1] == "0" or not 9 <= len(digits) <= 12:
            return False
        if len(sizes) == 1:
            return (not barcode(digits) or german_mobile(digits)) and real_at_home(digits)
        pairs = sizes[-1] == sizes[-2] == 2
        if not 2 <= sizes[0] <= 6 or (sizes[-1] < 3 and not pairs) or min(sizes[1:]) < 2:
            return False
        if sizes[:2] == (2, 2):
            return set(sizes) == {2} and len(set(self.between)) == 1
        return len(set(self.between[1:])) <= 1
