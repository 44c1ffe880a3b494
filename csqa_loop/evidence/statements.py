"""Statements about answers, read from the facts: the answers themselves, complaints, proposals and imported examples."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import duckdb
import orjson

from csqa_loop.events import BASE
from csqa_loop.evidence.rules.pairs import Answer, Better

_ANSWERS = """
SELECT event_id::VARCHAR, message_id, conversation_id, "user", question, messages, answer, source, adapter, policy_id, section, citations, occurred_at,
    recorded_at
FROM first_answers_of($1)
"""
_COMPLAINTS = """
SELECT event_id::VARCHAR, message_id, reason, coalesce(corrected_answer, ''), reviewer, 'correction', occurred_at FROM bad_cases
WHERE message_id IN (SELECT unnest($1))
UNION ALL
SELECT event_id::VARCHAR, message_id, 'review', corrected_answer, reviewer, 'review', occurred_at FROM reviews
WHERE action = 'correct' AND corrected_answer IS NOT NULL AND message_id IN (SELECT unnest($1))
UNION ALL
SELECT event_id::VARCHAR, message_id, 'thumb', '', '', 'thumb', occurred_at FROM ratings
WHERE thumb = 'down' AND message_id IN (SELECT unnest($1)) AND message_id NOT IN (SELECT message_id FROM bad_cases)
"""
_PROPOSALS = """
SELECT event_id::VARCHAR, message_id, answer, method, judge_model, occurred_at FROM proposals WHERE message_id IN (SELECT unnest($1))
"""
_EXAMPLES = """
SELECT event_id::VARCHAR, conversation_id, operator, messages, rejected, answer, category, split = 'holdout', occurred_at, recorded_at FROM examples
WHERE rejected IS NOT NULL AND conversation_id IN (SELECT unnest($1))
"""
# What customers liked, and what files hold without a counterpart. Held-out examples train nothing anyway.
_SINGLES = """
SELECT r.event_id::VARCHAR, r.message_id, a.question, a.messages, a.answer, true, false FROM ratings r JOIN first_answers_of($1) a USING (message_id) WHERE r.thumb = 'up'
UNION ALL
SELECT event_id::VARCHAR, conversation_id, messages -> -1 ->> 'content', messages, answer, liked, true FROM examples
WHERE rejected IS NULL AND split = 'train' AND conversation_id IN (SELECT unnest($1))
"""


@dataclass(frozen=True, slots=True)
class DatedAnswer:
    """An answer and when it was given."""

    answer: Answer
    occurred_at: datetime
    recorded_at: datetime
    """By the log's time."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """A report that an answer was bad: a bad case, a review, or a thumb alone."""

    event_id: str
    message_id: str
    reason: str
    better: str
    contributor: str
    source: Literal["correction", "review", "thumb"]
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Proposal:
    """A better answer that a model found."""

    message_id: str
    better: Better


@dataclass(frozen=True, slots=True)
class ImportedPair:
    """An imported pair: the worse answer as if it had been given here, and the better one."""

    answer: Answer
    better: Better
    category: str
    held_out: bool
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Single:
    """An answer without a counterpart: a customer liked it, or it stands in an imported file."""

    event_id: str
    message_id: str
    """The conversation's id of an imported one."""
    question: str
    prompt: str
    answer: str
    liked: bool | None
    imported: bool


def answers(connection: duckdb.DuckDBPyConnection, names: list[str]) -> dict[str, DatedAnswer]:
    """Message id -> its first answer."""
    dated = {}
    for *fields, citations, moment, recorded in connection.execute(_ANSWERS, [names]).fetchall():
        answer = Answer(*(*fields, _quoted(citations)))
        dated[answer.message_id] = DatedAnswer(answer, utc(moment), utc(recorded))
    return dated


def complaints(connection: duckdb.DuckDBPyConnection, names: list[str]) -> list[Complaint]:
    """All complaints about these messages; a lone thumb only where there is no bad case."""
    rows = connection.execute(_COMPLAINTS, [names]).fetchall()
    return [replace(Complaint(*row), occurred_at=utc(row[-1])) for row in rows]


def proposals(connection: duckdb.DuckDBPyConnection, names: list[str]) -> list[Proposal]:
    """Better answers to these messages that models found."""
    rows = connection.execute(_PROPOSALS, [names]).fetchall()
    return [
        Proposal(message_id, Better(event_id, text, method, judge, utc(moment)))
        for event_id, message_id, text, method, judge, moment in rows
    ]


def examples(connection: duckdb.DuckDBPyConnection, names: list[str]) -> list[ImportedPair]:
    """Imported pairs by conversation id: an example is a conversation of its own."""
    pairs = []
    rows = connection.execute(_EXAMPLES, [names]).fetchall()
    for event_id, name, operator, prompt, rejected, chosen, category, held_out, moment, recorded in rows:
        question = orjson.loads(prompt)[-1]["content"]
        answer = Answer(event_id, name, name, "", question, prompt, rejected, "model", BASE, "", "")
        pairs.append(ImportedPair(answer, Better(event_id, chosen, "import", operator, utc(moment)), category, held_out, utc(recorded)))
    return pairs


def singles(connection: duckdb.DuckDBPyConnection, names: list[str]) -> list[Single]:
    """What may be trained on without pairs, by message or conversation id; `ratings` must be up to date."""
    return [Single(*row) for row in connection.execute(_SINGLES, [names]).fetchall()]


def utc(moment: datetime) -> datetime:
    """The moment in UTC: DuckDB returns it in its session's zone."""
    return moment.astimezone(UTC)


def _quoted(citations: str) -> tuple[tuple[str, str, str], ...]:
    return tuple(dict.fromkeys((citation["policy_id"], citation["version"], citation["section"]) for citation in orjson.loads(citations)))
