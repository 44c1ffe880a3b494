"""A policy version cut into passages: the same ones for the index, for blame and for the questions of the gate."""

import hashlib
from dataclasses import dataclass, field

from csqa_loop.knowledge.formats.markdown import read_document
from csqa_loop.knowledge.rules.chunking import chunk_markdown
from csqa_loop.knowledge.rules.versions import chunk_id

_WHOLE = 1 << 30
"""Characters: no section is cut."""


@dataclass(frozen=True, slots=True)
class PolicyPassage:
    """One passage of a policy version: what is embedded, quoted and judged by."""

    policy_id: str
    version: str
    section: str
    text: str
    category: str = ""
    number: int = field(default=0, compare=False)
    """Its place in the document, from 0. Two passages that say the same are equal wherever they stand."""

    @property
    def chunk_id(self) -> str:
        """Its name in the index."""
        return chunk_id(self.policy_id, self.version, self.number)


def passages_of(policy_id: str, version: str, text: str, chunk_characters: int) -> tuple[PolicyPassage, ...]:
    """The passages of one version in the order of its text; each has at most `chunk_characters` characters."""
    category = category_of(policy_id, text)
    return tuple(
        PolicyPassage(policy_id, version, passage.section, passage.text, category, number)
        for number, passage in enumerate(chunk_markdown(text, chunk_characters))
    )


def section_digests(text: str) -> dict[str, str]:
    """Section -> 16 hex of the SHA-256 of what it says, white space aside: equal where an edit of the document left it as it was.

    Its heading is not part of it, so a section that only has another name says the same.
    """
    bodies: dict[str, list[str]] = {}
    for passage in chunk_markdown(text, _WHOLE):
        bodies.setdefault(passage.section, []).extend(passage.body.split())
    return {section: hashlib.sha256(" ".join(words).encode()).hexdigest()[:16] for section, words in bodies.items()}


def category_of(policy_id: str, text: str) -> str:
    """What a document's front matter calls its matter; the policy's id where it says nothing."""
    return read_document(text).category or policy_id
