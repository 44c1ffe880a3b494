"""What can be trained on without a pair: answers that somebody liked or disliked, and answers as they should be."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Example:
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
