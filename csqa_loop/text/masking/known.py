"""What is a company's own: its domains and numbers, and the contacts that stand in its policies."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

_OTHERS = re.compile(r"[^0-9A-Za-z@.\-_+%]")
_NO_DIGITS = re.compile(r"[^0-9]")
_LAST = 9
"""Digits at a phone number's end that are the same with its country code and without."""


@dataclass(frozen=True, slots=True)
class Known:
    """Contacts that are nobody's secret."""

    domains: frozenset[str] = frozenset()
    """Lower case; addresses there, and in domains below them, stay."""
    numbers: frozenset[str] = frozenset()
    """The ends of phone numbers."""
    phrases: frozenset[str] = frozenset()
    """Whatever else was found in a policy, without signs and in lower case."""

    @classmethod
    def of(cls, domains: Iterable[str] = (), numbers: Iterable[str] = ()) -> "Known":
        """From what an operator wrote: `shop.example`, `+44 20 7946 0958`."""
        return cls(
            frozenset(domain.strip().lower().removeprefix("@").removeprefix("www.") for domain in domains),
            frozenset(map(_end, numbers)),
        )

    def having(self, places: Iterable[tuple[str, str]]) -> "Known":
        """With what a policy states: labels, and texts as they read."""
        told = list(places)
        numbers = {_end(text) for label, text in told if label == "[phone]"}
        phrases = {_bare(text) for label, text in told if label != "[phone]"}
        return replace(self, numbers=self.numbers | numbers, phrases=self.phrases | phrases)

    def stating(self, contacts: Iterable[str]) -> "Known":
        """With contacts of which only the text is known."""
        told = list(contacts)
        return self.having([("[phone]", text) for text in told if "@" not in text and _end(text)] + [("", text) for text in told])

    def holds(self, label: str, text: str) -> bool:
        """Whether what a rule found is known."""
        if label == "[phone]":
            return bool(self.numbers) and _end(text) in self.numbers
        if label == "[email]" and self.domains:
            domain = text.rpartition("@")[2].strip().lower().replace("。", ".")
            if any(domain == own or domain.endswith(f".{own}") for own in self.domains):
                return True
        return bool(self.phrases) and _bare(text) in self.phrases


NOTHING = Known()


def _bare(text: str) -> str:
    return text.lower() if "@" in text else _OTHERS.sub("", text).lower().replace("-", "").replace(".", "")


def _end(text: str) -> str:
    digits = _NO_DIGITS.sub("", text).lstrip("0")
    return digits[-_LAST:]
