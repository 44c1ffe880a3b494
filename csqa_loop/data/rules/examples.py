"""An example: what a model would be asked, and what it should, or should not, have answered."""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from csqa_loop.events import ChatMessage, ExampleImported, derived_id
from csqa_loop.evidence.rules.quality import cleaned
from csqa_loop.text.masking import NOTHING, Known, mask, with_contacts

Split = Literal["train", "holdout"]


@dataclass(frozen=True, slots=True)
class Example:
    """With `rejected` it is a pair, with `liked` a rated answer, with neither a demonstration."""

    messages: tuple[ChatMessage, ...]
    """As a model would get them; the last one is the user's question."""
    answer: str
    rejected: str | None = None
    liked: bool | None = None
    category: str = ""
    split: Split = "train"
    generator: str = ""
    """What made it, where no person did."""
    made_from: str = ""
    """The question of the row that it was made from, where it was: both belong on one side of a split."""

    @property
    def question(self) -> str:
        """The user's last message."""
        return self.messages[-1].content

    @property
    def origin(self) -> str:
        """The question behind it: of the row that it was made from, else its own."""
        return self.made_from or self.question

    def asked_as(self, question: str, *, generator: str) -> "Example":
        """The same with another last message of the user, made by `generator`."""
        messages = (*self.messages[:-1], ChatMessage(role="user", content=question))
        return replace(self, messages=messages, generator=generator, made_from=self.origin)

    @property
    def kind(self) -> str:
        """`pair`, `rated` or `demonstration`."""
        if self.rejected is not None:
            return "pair"
        return "demonstration" if self.liked is None else "rated"

    @property
    def content_id(self) -> str:
        """`i-` and 16 hex of the SHA-256 over what a model would learn from: equal examples have one id, whatever file they stand in."""
        content = [[(m.role, m.content) for m in self.messages], self.answer, self.rejected, self.liked]
        return "i-" + hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:16]


def prepared(example: Example, own: Known = NOTHING) -> Example:
    """The example without hidden characters and personal data. System messages are the company's own words: what they state stays."""
    known = with_contacts(own, "\n\n".join(m.content for m in example.messages if m.role == "system"))
    return replace(
        example,
        messages=tuple(m if m.role == "system" else ChatMessage(role=m.role, content=_plain(m.content, known)) for m in example.messages),
        answer=_plain(example.answer, known),
        rejected=None if example.rejected is None else _plain(example.rejected, known),
        made_from=_plain(example.made_from, known),
    )


def _plain(text: str, known: Known) -> str:
    return mask(cleaned(text), known)


def imported(example: Example, *, origin: str, operator: str, occurred_at: datetime) -> ExampleImported:
    """The event that brings an example into the log.

    The event_id follows from the content alone. A ledger that knows the id expects the same body, so one import uses one `occurred_at`.
    """
    identity = example.content_id
    return ExampleImported(
        event_id=derived_id(identity, "ExampleImported"),
        occurred_at=occurred_at,
        conversation_id=identity,
        messages=example.messages,
        answer=example.answer,
        rejected=example.rejected,
        liked=example.liked,
        category=example.category,
        split=example.split,
        origin=origin,
        generator=example.generator,
        operator=operator,
    )


def as_row(example: Example) -> dict[str, Any]:
    """An example as JSON values under the names that `csqa data import` reads; what it does not have is left out."""
    row = {
        "messages": [message.model_dump() for message in example.messages],
        "answer": example.answer,
        "rejected": example.rejected,
        "liked": example.liked,
        "category": example.category or None,
        "split": example.split,
        "generator": example.generator or None,
        "made_from": example.made_from or None,
    }
    return {name: value for name, value in row.items() if value is not None}
