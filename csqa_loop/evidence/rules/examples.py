"""What can be trained on without a pair: liked and disliked answers, and demonstrations (answers as they should be)."""

from dataclasses import dataclass
from datetime import datetime

from csqa_loop.evidence.rules.pairs import system_text_in, unsupported
from csqa_loop.evidence.rules.quality import QualityPolicy, findings, too_long


@dataclass(frozen=True)
class UnpairedExample:
    """One answer to `prompt`, and what is known of it."""

    example_id: str
    """The message's id; of an imported example its conversation's."""
    question: str
    prompt: str
    """The exact messages the model got, as a JSON list of {role, content}."""
    answer: str
    liked: bool | None
    """None: a demonstration, an answer as it should be."""
    occurred_at: datetime
    user: str = ""
    """The customer's pseudonym; empty for an imported example."""
    contributor: str = ""
    """The operator of an import."""
    category: str = ""
    message_id: str = ""
    answer_event_id: str = ""
    evidence_event_id: str = ""
    """The event that says so: a thumb, or the import."""

    @property
    def reviewer(self) -> str:
        """Empty: no single agent or judge model decides about an example."""
        return ""


def reservations(question: str, prompt: str, answer: str, policy: QualityPolicy, *, liked: bool | None, imported: bool) -> tuple[str, ...]:
    """Why an example is not trained on, by the rules that hold a pair; empty where nothing is against it. A disliked answer may be anything
    that fits. No person chose the words of an answer that a customer liked, so its numbers must stand in the prompt.
    """
    if liked is False:
        return tuple(too_long(prompt, (answer,), policy))
    reasons = findings(question, prompt, answer, "", policy)
    return reasons if imported else (*reasons, *unsupported(question, system_text_in(prompt), answer))
