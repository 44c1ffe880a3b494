"""Payment cards, phone numbers and accounts: what is written in groups of digits, with whatever stands beside it."""

import re
from collections.abc import Iterator

from csqa_loop.text.masking.labels import Kind, label_of
from csqa_loop.text.masking.numbering import toll_free
from csqa_loop.text.masking.payment import LONGEST, SHORTEST, is_card
from csqa_loop.text.masking.view import Finding, Taken
from csqa_loop.text.masking.window import FEWEST, FEWEST_AT_HOME, FEWEST_ELSE, MOST, Window

_DIGITS = re.compile(r"\d+")
_RUN = re.compile(r"\d+(?:[ ()./·_-]{1,4}\d+)*")
_GLUE = re.compile(r"[A-Za-z][A-Za-z_/-]{0,23}\Z")
_SIGN = re.compile(r"\(?\+ ?\(?\Z")
_OR = re.compile(r"\s*(?:或者?|or|and|und|oder|et|ou|和|与|與|[/,、;|])\s*\Z")
_FEWEST_ACCOUNT = 6
_FEWEST_CALLED_CARD = 13


def find_numbers(view: str, taken: Taken) -> Iterator[Finding]:
    """Every number of a person outside `taken`; those of companies with label None."""
    called_before = -1
    """Where the last number ended that was called a phone's: `call 91234567 or 61234567`."""
    for match in _RUN.finditer(view):
        if match.end() - match.start() < FEWEST or sum(map(str.isdigit, match[0])) < FEWEST:
            continue
        run = _Run(view, [(start, end) for start, end in _groups(match) if taken.free(start, end)])
        place = 0
        while place < len(run.groups):
            if run.digits_from(place) < FEWEST:
                break
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

    def digits_from(self, place: int) -> int:
        """How many digits there are from the group on, up to more than any number has."""
        size = 0
        for start, end in self.groups[place : place + LONGEST + 1]:
            size += end - start
            if size > LONGEST:
                break
        return size

    def _hopeless(self, place: int) -> bool:
        """Whether too few digits follow for a number that nothing announces."""
        start = self.groups[place][0]
        first = self.view[start]
        fewest = (
            FEWEST if self.view[max(0, start - 3) : start].rstrip(" (").endswith("+") else FEWEST_AT_HOME if first == "0" else FEWEST_ELSE
        )
        return self.digits_from(place) < fewest

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
        if label is None and self._hopeless(place):
            return place, None
        windows = self._windows(place, label)
        # What stands in one piece is the number, and what follows its expiry or its code.
        long = [window for window in windows if len(window.digits) >= SHORTEST]
        for window in sorted(long, key=lambda window: len(window.sizes) > 1):
            # A number that is called a card's is one although a digit of it may be mistyped.
            called = label == "card" and len(window.digits) >= _FEWEST_CALLED_CARD
            if (called or is_card(window.digits)) and window.even and window.ends_well:
                return window.last, "[card]"
        for window in self._phones(windows, label):
            return window.last, "" if toll_free(window.digits) and not window.chinese_mobile else "[phone]"
        if label == "bank":
            for window in windows:
                if len(window.digits) >= _FEWEST_ACCOUNT and window.ends_well and not window.counted:
                    return window.last, "[account]"
        return place, None

    def _lone(self, place: int) -> bool:
        start, end = self.groups[place]
        return end - start == 1

    def _windows(self, place: int, label: Kind | None) -> "list[Window]":
        """Longest first."""
        glued = self._glued(place) if label not in {"phone", "card", "bank", "handle", "document"} else ""
        found: list[Window] = []
        size = 0
        for last in range(place, len(self.groups)):
            size += self.groups[last][1] - self.groups[last][0]
            if size > LONGEST:
                break
            if size >= FEWEST:
                found.append(Window(self.view, self.groups, place, last, glued))
        found.reverse()
        return found

    def _phones(self, windows: "list[Window]", label: Kind | None) -> "Iterator[Window]":
        if windows and windows[0].dialled:
            yield from (window for window in windows if window.abroad is True and window.good)
            yield from (window for window in windows if window.abroad is None and window.good)
        yield from (window for window in windows if window.chinese_mobile and window.good)
        if windows and not windows[0].glued:
            yield from (window for window in windows if (window.north_american or window.with_trunk) and window.good)
            if label == "phone":
                yield from self._called([window for window in windows if window.good])

    def _called(self, windows: "list[Window]") -> "Iterator[Window]":
        """The most natural one of those that are called a phone number."""
        for window in reversed(windows):
            if len(window.digits) > MOST:
                return
            if window.calendar:
                continue
            following = self.groups[window.last + 1 : window.last + 2]
            more = following[0][1] - following[0][0] if following else 0
            if (
                not more
                or len(window.digits) + more > MOST
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
