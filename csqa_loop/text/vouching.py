"""Free text without personal data, by a process that knows the current policies: what one of them states is nobody's secret."""

from collections.abc import Sequence
from dataclasses import dataclass

from csqa_loop.text.identity import vouch
from csqa_loop.text.masking import Known, mask, stated_contacts

_APART = "\n" * 4
"""Between texts, so that digits of two are never taken for one number."""
_MOST, _LONGEST = 50, 320
"""Contacts, and characters of one: what an event takes."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """What may stay in the texts of one message, and the proof for those who know no policies."""

    known: Known
    stated: tuple[str, ...] = ()
    proof: str = ""

    def masked(self, text: str) -> str:
        """The text without what is personal."""
        return mask(text, self.known)


def vouched(secret: bytes, message_id: str, texts: Sequence[str], own: Known, policies: Sequence[str]) -> Vouched:
    """What of `texts` (said about one message) may stay besides `own`: contacts that one of the current `policies` states."""
    found = stated_contacts(_APART.join(texts), own, policies)
    stated = tuple(contact for contact in found if len(contact) <= _LONGEST)[:_MOST]
    return Vouched(own.stating(stated), stated, vouch(secret, message_id, stated))
