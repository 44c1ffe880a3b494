"""Payment cards, phone numbers and accounts: what is written in groups of digits, with whatever stands beside it."""

import re
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise

from csqa_loop.text.masking.kept import barcode, counted
from csqa_loop.text.masking.labels import Kind, label_of
from csqa_loop.text.masking.numbering import german_mobile, real, real_at_home, toll_free
from csqa_loop.text.masking.payment import LONGEST, is_card
from csqa_loop.text.masking.view import Finding, Taken

_DIGITS = re.compile(r"\d+")
_RUN = re.compile(r"\d+(?:[ ()./·_-]{1,4}\d+)*")
_GLUE = re.compile(r"[A-Za-z][A-Za-z_/-]{0,23}\Z")
_SIGN = re.compile(r"\(?\+ ?\(?\Z")
_PLUS = re.compile(r"\+ ?\(?\Z")
_LETTERS = re.compile(r"([A-Za-z]+)([0-9]?)")
_EXTENSION = frozenset({"x", "ext", "exp", "cvv", "cvc", "cv"})
_HEX = frozenset("abcdef")
_OR = re.compile(r"\s*(?:或者?|or|and|und|oder|et|ou|和|与|與|[/,、;|])\s*\Z")
_FEWEST, _MOST = 7, 15
_NANP = ((3, 3, 4), (1, 3, 3, 4))


def find_numbers(view: str, taken: Taken) -> Iterator[Finding]:
    """Every number of a person outside `taken`; those of companies with label None."""
    called_before = -1
    """Where the last number ended that was called a phone's: `call 91234567 or 61234567`."""
    for match in _RUN.finditer(view):
        if match.end() - match.start() < _FEWEST or sum(map(str.isdigit, match[0])) < _FEWEST:
            continue
        run = _Run(view, [(start, end) for start, end in _groups(match) if taken.free(start, end)])
        place = 0
        while place < len(run.groups):
            label = run.label(place)
            start = run.groups[place][0]
            if label is None and called_before >= 0 and (start - called_before < 8 and _OR.match(view[called_before:start])):
                label = "phone"
            if label in {"kept", "version"}:
                place = run.after_thing(place)
                continue
            last, what = run.at(place, label)
            if what is not None:
                first, end = run.span(place, last)
                yield Finding(first, end, what or None)
                called_before = end if label == "phone" else -1
                place = last
            place += 1


def _groups(match: re.Match[str]) -> Iterator[tuple[int, int]]:
    return (group.span() for group in _DIGITS.finditer(match.string, match.start(), match.end()))


class _Run:
    """Groups of digits with short signs between them."""

    def __init__(self, view: str, groups: list[tuple[int, int]]) -> None:
        self.view = view
        self.groups = groups
        self._labels: dict[int, Kind | None] = {}
        self._words = [0] * len(groups)
        """The first group of the word that each is in."""
        for place in range(1, len(groups)):
            self._words[place] = place if " " in view[groups[place - 1][1] : groups[place][0]] else self._words[place - 1]

    def label(self, place: int) -> Kind | None:
        """What the text before calls the word that the group at `place` is in."""
        place = self._words[place]
        if place not in self._labels:
            self._labels[place] = label_of(self.view, self.groups[place][0])
        return self._labels[place]

    def span(self, place: int, last: int) -> tuple[int, int]:
        """From the first digit to the last, with plus and brackets."""
        start, end = self.groups[place][0], self.groups[last][1]
        if self.view[end : end + 1] == ")" and "(" in self.view[start:end] and ")" not in self.view[start:end]:
            end += 1
        if self.view[start - 1 : start] == "(" and ")" in self.view[start:end]:
            start -= 1
        sign = _SIGN.search(self.view, max(0, start - 4), start)
        if sign:
            start = sign.start() + (sign[0][0] == "(" and ")" not in self.view[start:end])
        return start, end

    def after_thing(self, place: int) -> int:
        """The first group that does not belong to the number of a thing which begins at `place`."""
        last = place
        while last + 1 < len(self.groups):
            (start, end), (following, following_end) = self.groups[last], self.groups[last + 1]
            between = self.view[end:following]
            if " " in between and not (end - start <= 6 and following_end - following <= 5 and between == " "):
                break
            last += 1
        return last + 1

    def at(self, place: int, label: Kind | None) -> tuple[int, str | None]:
        """The last group and the label of the number that begins at `place`; an empty label for a company's, None where there is none."""
        if place and self._lone(place) and self._lone(place - 1) and self.groups[place][0] - self.groups[place - 1][1] == 1:
            return place, None  # digits that stand alone are one number from the first of them on, or none
        windows = self._windows(place, label)
        # What stands in one piece is the number, and what follows its expiry or its code.
        for window in sorted(windows, key=lambda window: len(window.sizes) > 1):
            if is_card(window.digits) and window.even and window.ends_well:
                return window.last, "[card]"
        for window in self._phones(windows, label):
            return window.last, "" if toll_free(window.digits) and not window.chinese_mobile else "[phone]"
        if label == "bank":
            for window in windows:
                if len(window.digits) >= 6 and window.ends_well and not window.counted:
                    return window.last, "[account]"
        return place, None

    def _lone(self, place: int) -> bool:
        start, end = self.groups[place]
        return end - start == 1

    def _windows(self, place: int, label: Kind | None) -> "list[_Window]":
        """Longest first."""
        glued = self._glued(place) if label not in {"phone", "card", "bank", "handle", "document"} else ""
        found: list[_Window] = []
        size = 0
        for last in range(place, len(self.groups)):
            size += self.groups[last][1] - self.groups[last][0]
            if size > LONGEST:
                break
            if size >= _FEWEST:
                found.append(_Window(self.view, self.groups, place, last, glued))
        found.reverse()
        return found

    def _phones(self, windows: "list[_Window]", label: Kind | None) -> "Iterator[_Window]":
        good = [window for window in windows if window.ends_well and window.begins_well and not window.counted]
        if not good:
            return
        yield from (window for window in good if window.abroad is True)
        yield from (window for window in good if window.abroad is None)
        yield from (window for window in good if window.chinese_mobile)
        if not good[0].glued:
            yield from (window for window in good if window.north_american or window.with_trunk)
            if label == "phone":
                yield from self._called(good)

    def _called(self, windows: "list[_Window]") -> "Iterator[_Window]":
        """The most natural one of those that are called a phone number."""
        for window in reversed(windows):
            if len(window.digits) > _MOST:
                return
            if window.calendar:
                continue
            following = self.groups[window.last + 1 : window.last + 2]
            more = following[0][1] - following[0][0] if following else 0
            if (
                not more
                or len(window.digits) + more > _MOST
                or (window.sizes[-1] >= 3 and more < 3)
                or window.sizes in {(4, 4), (3, 4)}
                or window.sizes[0] >= 8
            ):
                yield window

    def _glued(self, place: int) -> str:
        """Letters that the word of the group begins with."""
        start = self.groups[self._words[place]][0]
        match = _GLUE.search(self.view, max(0, start - 24), start)
        return match[0] if match else ""


class _Window:
    """Some groups of a run, taken for one number."""

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
        return counted(self.view, self.start, self.end)

    @property
    def calendar(self) -> bool:
        """Whether it is a date without signs, or two years."""
        return (
            re.fullmatch(r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", self.digits) is not None and len(self.sizes) == 1
        ) or (self.sizes == (4, 4) and re.fullmatch(r"(?:(?:19|20)\d\d){2}", self.digits) is not None)

    @cached_property
    def abroad(self) -> bool | None:
        """With its country code after + or 00: whether the plan knows it, None for a right length alone."""
        digits = self.digits
        if _PLUS.search(self.view, max(0, self.start - 3), self.start):
            digits = digits.removeprefix("00")
        elif digits.startswith("00") and digits[2:3] != "0" and not self.glued and len(digits) >= 10:
            if len(self.sizes) == 1 and barcode(digits) and label_of(self.view, self.start) != "phone":
                return False
            digits = digits[2:]
        else:
            return False
        trunk = self.view.find("(0)", self.start, self.end)
        if trunk > 0:  # +44 (0)20: the zero is for callers at home
            place = sum(map(str.isdigit, self.view[self.start : trunk])) - (len(self.digits) - len(digits))
            digits = digits[:place] + digits[place + 1 :]
        return real(digits) if _FEWEST <= len(digits) <= _MOST else False

    @property
    def chinese_mobile(self) -> bool:
        """1[3-9] and nine more, perhaps after 86; in groups of two and more."""
        digits, sizes = self.digits, self.sizes
        if self.glued and (self.glued.isupper() or not self.glued[-1].isalpha()):
            return False
        if re.fullmatch(r"(?:0086|86|0)?1[3-9]\d{9}", digits) is None:
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
