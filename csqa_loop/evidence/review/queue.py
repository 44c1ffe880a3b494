"""Questions of the review queue: its pages, and whatever is known about an item."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from csqa_loop.errors import PermanentError
from csqa_loop.evidence.review.rules.items import (
    ItemBlame,
    ItemPair,
    Kind,
    MadePair,
    PastDecision,
    QueueItem,
    QueuePage,
    ReportedCase,
    RetrievedPassage,
    Rival,
    Thumb,
    WholeItem,
)
from csqa_loop.evidence.rules.excerpts import excerpts_in
from csqa_loop.ledger.connection import Connection
from csqa_loop.ledger.facts import Row
from csqa_loop.text.normal import encodable

_LONG_AGO = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which items; an empty field asks for nothing."""

    state: Literal["open", "decided", "all"] = "open"
    kind: str = ""
    reason: str = ""
    """Of the bad case, or `thumb`, or `held`."""
    fault: str = ""
    policy: str = ""
    text: str = ""
    """In the question, the answer, a customer's comment or a pair, in any case."""


_FILTER = """
($state = 'all' OR state = $state) AND ($reason = '' OR reason = $reason) AND ($fault = '' OR fault = $fault)
AND ($policy = '' OR policy_id = $policy) AND ($text = '' OR contains(lower(question), $text)
    OR message_id IN (SELECT message_id FROM answers WHERE contains(lower(answer), $text))
    OR message_id IN (SELECT message_id FROM feedback WHERE contains(lower(comment), $text))
    OR pair_id IN (SELECT pair_id FROM pairs WHERE contains(lower(chosen), $text) OR contains(lower(rejected), $text)))
"""
_PAGE = f"""
SELECT review_id, kind, state, reason, fault, detail, policy_id, question, opened_at, rank FROM review_queue
WHERE {_FILTER} AND ($kind = '' OR kind = $kind) AND row(rank, opened_at, review_id) > row($rank, $opened_at::TIMESTAMPTZ, $review_id)
ORDER BY rank, opened_at, review_id LIMIT $limit
"""  # noqa: S608 - our own condition
_COUNTS = f"SELECT kind, count(*) FROM review_queue WHERE {_FILTER} GROUP BY kind"  # noqa: S608 - our own condition
_ITEMS = "SELECT * EXCLUDE (rank) FROM review_queue WHERE review_id IN (SELECT unnest($1)) ORDER BY rank, opened_at, review_id"
_ANSWERS = """
SELECT message_id, conversation_id, occurred_at, question, messages, answer, source, adapter, citations FROM first_answers_of($1)
"""
_COMMENTS = """
SELECT message_id, thumb, comment, occurred_at FROM feedback WHERE message_id IN (SELECT unnest($1)) ORDER BY epoch, "offset", event_id
"""
_BAD_CASES = """
SELECT message_id, reason, reviewer, corrected_answer, occurred_at FROM bad_cases WHERE message_id IN (SELECT unnest($1)) ORDER BY occurred_at, event_id
"""
_BLAMES = """
SELECT event_id::VARCHAR AS event_id, message_id, fault, basis, detail, policy_id, version, section, prompt_support, best_support, missing_numbers
FROM blames WHERE message_id IN (SELECT unnest($1)) ORDER BY reason = 'review', occurred_at, event_id
"""
_PAIRS = """
SELECT p.pair_id, p.message_id, p.state, p.source, p.contributor, p.prompt, p.chosen, p.rejected, p.held, p.too_long, p.masked, p.rival, p.evidence_event_id::VARCHAR AS evidence,
    r.chosen AS rival_chosen
FROM pair_states p LEFT JOIN pairs r ON r.pair_id = p.rival WHERE p.message_id IN (SELECT unnest($1)) ORDER BY p.occurred_at, p.pair_id
"""
_HISTORY = """
SELECT event_id::VARCHAR AS event_id, review_id, action, corrected_answer, reviewer, note, occurred_at FROM reviews
WHERE review_id IN (SELECT unnest($1)) ORDER BY epoch, "offset", event_id
"""


def queue_page(connection: Connection, queue_filter: QueueFilter, *, after: str = "", limit: int = 50) -> QueuePage:
    """A page of the queue.

    Raises:
        PermanentError: `after` is no cursor.
    """
    condition = {
        "state": queue_filter.state, "reason": queue_filter.reason, "fault": queue_filter.fault, "policy": queue_filter.policy, "text": queue_filter.text.strip().lower(),
    }  # fmt: skip
    rank, opened_at, review_id = _position(after)
    place = {"kind": queue_filter.kind, "rank": rank, "opened_at": opened_at, "review_id": review_id, "limit": limit + 1}
    rows = _rows(connection, _PAGE, condition | place)
    counts: dict[Kind, int] = {"answer": 0, "pair": 0}
    counts |= dict(connection.execute(_COUNTS, condition).fetchall())
    page = rows[:limit]
    cursor = _cursor(page[-1]) if len(rows) > limit else None
    for row in page:
        del row["rank"]
    return QueuePage([QueueItem(**row) for row in page], cursor, counts)


def whole_items(connection: Connection, review_ids: Sequence[str]) -> list[WholeItem]:
    """The named items, in the order of the queue. Those that are none are left out."""
    items = _rows(connection, _ITEMS, [list(review_ids)])
    messages = [[item["message_id"] for item in items]]
    answers = {row["message_id"]: row for row in _rows(connection, _ANSWERS, messages)}
    comments, bad_cases, blames, pairs = (_grouped(connection, query, messages) for query in (_COMMENTS, _BAD_CASES, _BLAMES, _PAIRS))
    history = _grouped(connection, _HISTORY, [[item["review_id"] for item in items]], by="review_id")
    current = dict(connection.execute("SELECT policy_id, version FROM current_policies WHERE NOT withdrawn").fetchall())
    whole = []
    for item in items:
        name = item["message_id"]
        own_pair = next((pair for pair in pairs.get(name, []) if pair["pair_id"] == item["pair_id"]), None)
        decided = history.get(item["review_id"], [])
        decision_ids = {row["event_id"] for row in decided}
        blame = next(iter(sorted(blames.get(name, []), key=lambda blame: blame["event_id"] != item["event_id"])), None)
        whole.append(
            WholeItem(
                **item,
                **_answer_fields(answers.get(name), own_pair, current),
                feedback=[Thumb(**row) for row in comments.get(name, [])],
                bad_cases=[ReportedCase(**row) for row in bad_cases.get(name, [])],
                blame=ItemBlame(**blame) if blame else None,
                pair=_pair(own_pair) if own_pair else None,
                history=[PastDecision(**row) for row in decided],
                made=[
                    MadePair(pair["pair_id"], pair["state"], pair["held"], pair["evidence"])
                    for pair in pairs.get(name, [])
                    if pair["evidence"] in decision_ids
                ],
            )
        )
    return whole


def _pair(row: Row) -> ItemPair:
    rival = Rival(row["rival"], row["rival_chosen"]) if row["rival"] else None
    names = ("pair_id", "state", "source", "contributor", "chosen", "rejected", "held", "too_long", "masked")
    return ItemPair(**{name: row[name] for name in names}, rival=rival)


def _answer_fields(answer: Row | None, pair: Row | None, current: dict[str, str]) -> Row:
    """Conversation, passages and answer: of the chat, or of the imported pair that has none."""
    prompt: list[dict[str, str]] = json.loads(answer["messages"] if answer else pair["prompt"] if pair else "[]")
    system = "\n\n".join(message["content"] for message in prompt if message["role"] == "system")
    citations = json.loads(answer["citations"]) if answer else []
    texts = excerpts_in(system, [citation["section"] for citation in citations]) or [None] * len(citations)
    return {
        "imported": answer is None,
        "answer": answer["answer"] if answer else pair["rejected"] if pair else "",
        "answered_at": answer and answer["occurred_at"],
        "source": answer["source"] if answer else "import",
        "adapter": answer and answer["adapter"],
        "conversation": [message for message in prompt if message["role"] != "system"],
        "prompt": system,
        "retrieved": [
            RetrievedPassage(
                **{key: citation[key] for key in ("policy_id", "section", "version", "score")},
                text=text,
                current=current.get(citation["policy_id"]) == citation["version"],
            )
            for citation, text in zip(citations, texts, strict=True)
        ],
    }


def _grouped(connection: Connection, query: str, values: list[list[str]], *, by: str = "message_id") -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in _rows(connection, query, values):
        groups.setdefault(row.pop(by), []).append(row)
    return groups


def _rows(connection: Connection, query: str, values: object) -> list[Row]:
    result = connection.execute(query, values)
    names = [column[0] for column in result.description]
    return [dict(zip(names, map(_plain, row), strict=True)) for row in result.fetchall()]


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value) if isinstance(value, UUID) else value


def _cursor(row: Row) -> str:
    return base64.urlsafe_b64encode(json.dumps([row["rank"], row["opened_at"], row["review_id"]]).encode()).decode()


def _position(cursor: str) -> tuple[int, datetime, str]:
    if not cursor:
        return -1, _LONG_AGO, ""
    try:
        rank, opened_at, review_id = json.loads(base64.urlsafe_b64decode(cursor))
        if type(rank) is not int or not -1 <= rank < 2**31 or not isinstance(review_id, str) or not encodable(review_id):
            raise ValueError
        return rank, datetime.fromisoformat(opened_at).astimezone(UTC), review_id
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise PermanentError(f"after is {cursor[:60]!r}, which is no cursor; take `next` of the page before") from error


def policy_texts(connection: Connection) -> list[str]:
    """The text of every current policy."""
    return [text for (text,) in connection.execute("SELECT body ->> 'text' FROM current_policies WHERE NOT withdrawn").fetchall()]
