"""Masks personal data in free text: addresses, phone numbers, payment cards, accounts, identity numbers and addresses of machines.

What customer service talks about stays: days, prices, dates, amounts, the numbers of orders and things. Where a number format has a checksum
or a plan it must hold, which is what keeps most other numbers. Toll-free numbers and role addresses (support@...) belong to companies, not to
persons, and an answer that lost them would be of no use, so they stay as well; so does what is `Known`. docs/privacy.md tells the whole.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from csqa_loop.text.masking.contacts import find_emails, find_handles, find_machines, find_qq
from csqa_loop.text.masking.documents import find_documents, find_named_documents
from csqa_loop.text.masking.kept import spans_in
from csqa_loop.text.masking.known import NOTHING, Known
from csqa_loop.text.masking.numbers import find_numbers
from csqa_loop.text.masking.payment import find_ibans
from csqa_loop.text.masking.view import ADDRESS, COLONS, FOUR, HANDLE, QUAD, SEVEN, SIX, Clues, Find, Finding, Taken, View, clues, view_of

__all__ = ["LABELS", "NOTHING", "Known", "Masked", "label_in", "mask", "masked", "may_tell", "stated_contacts", "with_contacts"]

LABELS = ("[email]", "[phone]", "[card]", "[iban]", "[account]", "[id]", "[ip]")
_LABEL = re.compile(rf"(?:{'|'.join(map(re.escape, LABELS))})(?!\((?:https?:|mailto:|tel:|/|#))")


class _Rule(NamedTuple):
    clue: int
    """One of these must be there."""
    find: Find


_RULES = (
    _Rule(ADDRESS, find_emails),
    _Rule(HANDLE, find_handles),
    _Rule(FOUR, find_qq),
    _Rule(SIX | SEVEN, find_ibans),
    _Rule(SIX | SEVEN, find_documents),
    _Rule(FOUR, find_named_documents),
    _Rule(QUAD | COLONS, find_machines),
)
"""In the order in which they are applied; after them come dates, which stay, and `find_numbers`."""


class Masked(NamedTuple):
    """A text without personal data, and what was in it."""

    text: str
    kinds: tuple[str, ...]
    """The label of each place, in no order."""


def mask(text: str, known: Known = NOTHING) -> str:
    """Replace personal data in `text` by one of `LABELS`; all else stays as it is. `mask(mask(x)) == mask(x)`."""
    look = clues(text)
    return _masked(text, look, known).text if look.found else text


def masked(text: str, known: Known = NOTHING) -> Masked:
    """As `mask`, with what was found."""
    return _masked(text, clues(text), known)


def _masked(text: str, look: Clues, known: Known) -> Masked:
    """Replacing one number can uncover another that was glued to it, so it runs until nothing changes.

    Each round removes digits, an at sign or a name, hence it ends.
    """
    kinds: list[str] = []
    while look.found:
        view = view_of(text)
        places = [
            place for place in _findings(view, look) if place.label and not known.holds(place.label, view.text[place.start : place.end])
        ]
        if not places:
            break
        pieces, done = [], 0
        for start, end, label in sorted(places):
            first, last = view.span(start, end)
            pieces += [text[done:first], label or ""]
            done = last
            kinds.append(label or "")
        text = "".join((*pieces, text[done:]))
        look = clues(text)
    return Masked(text, tuple(kinds))


def label_in(text: str) -> str | None:
    """The first of `LABELS` that stands in `text`: something was masked there. The words of a link (`[email](mailto:...)`) are none."""
    match = _LABEL.search(text)
    return match.group() if match else None


def may_tell(text: str) -> bool:
    """Whether there is anything in `text` that `mask` has to look at: an at sign, enough digits close together, or a name's announcement."""
    return clues(text).found != 0


@lru_cache(maxsize=256)  # an answer, its question and what was said before share one system message
def with_contacts(known: Known, policy: str) -> Known:
    """What is known once `policy` is: a contact that stands there word for word is no secret."""
    look = clues(policy)
    if not look.found:
        return known
    view = view_of(policy)
    return known.having((place.label, view.text[place.start : place.end]) for place in _findings(view, look) if place.label)


def stated_contacts(text: str, known: Known, policies: Iterable[str]) -> tuple[str, ...]:
    """What `mask` would take out of `text` although one of `policies` states it as a contact too, as the text spells it."""
    look = clues(text)
    if not look.found:
        return ()
    view = view_of(text)
    told = [(place.label, view.text[place.start : place.end]) for place in _findings(view, look) if place.label]
    secret = [contact for contact in told if not known.holds(*contact)]
    if not secret:
        return ()
    stated = NOTHING
    for policy in policies:
        if (within := clues(policy)).found:
            page = view_of(policy)
            stated = stated.having((place.label, page.text[place.start : place.end]) for place in _findings(page, within) if place.label)
    return tuple(dict.fromkeys(contact for label, contact in secret if stated.holds(label, contact)))


def _findings(view: View, look: Clues) -> list[Finding]:
    """Places that do not overlap: the first rule that knows one has it."""
    places: list[Finding] = []
    taken = Taken(len(view.text))

    def add(finding: Finding) -> None:
        if taken.free(finding.start, finding.end):
            places.append(finding)
            taken.add(finding.start, finding.end)

    for rule in _RULES:
        if rule.clue & look.found:
            for finding in rule.find(view.text, look):
                add(finding)
    if look.found & SEVEN:
        for start, end in spans_in(view.text):
            taken.add(start, end)
        for finding in find_numbers(view.text, taken):
            add(finding)
    return places
