"""Pairs, and answers that are in none, a page at a time: what the console lists and an export reads to its end."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from csqa_loop.errors import PermanentError
from csqa_loop.knowledge.rules.passages import category_of
from csqa_loop.ledger.connection import Connection
from csqa_loop.ledger.facts import Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"(\d{1,18})\.(.+)")
_PAIRS = """
SELECT s.* EXCLUDE (signature, answer_event_id, evidence_event_id), answer_event_id::VARCHAR AS answer_event_id,
    evidence_event_id::VARCHAR AS evidence_event_id, coalesce(c.runs, []) AS runs
FROM pair_states s LEFT JOIN (SELECT pair_id, list_sort(list_distinct(list(run_id))) AS runs FROM claims GROUP BY pair_id) c USING (pair_id)
"""
_PAGE = """
WHERE ($state IS NULL OR state = $state) AND ($source IS NULL OR source = $source) AND ($category IS NULL OR category = $category)
    AND (occurred_at, pair_id) > (make_timestamptz($moment), $name)
ORDER BY occurred_at, pair_id LIMIT $limit
"""
_UNPAIRED = """
SELECT message_id, prompt, answer, liked, category, question, "user", occurred_at, policy_id, version FROM unpaired WHERE (occurred_at, message_id) > (make_timestamptz($moment), $name) ORDER BY occurred_at, message_id LIMIT $limit
"""


@dataclass(frozen=True, slots=True)
class PairRow:
    """A pair with its state, what the state follows from, and the runs that claimed it."""

    pair_id: str
    message_id: str
    policy_id: str
    section: str
    held_out: bool
    question: str
    prompt: str
    """Its messages as JSON."""
    chosen: str
    rejected: str
    source: str
    weight: float
    adapter: str
    occurred_at: datetime
    user: str
    contributor: str
    category: str | None
    quoted: list[list[str]]
    """[policy_id, version] of every policy that the prompt quotes."""
    question_key: str | None
    numbers: list[str]
    held: list[str]
    review_id: str | None
    prompt_key: str | None
    rival: str | None
    claimed: bool
    outdated: bool
    withdrawn: bool
    approved: bool
    too_long: bool
    masked: bool
    unsettled: bool
    state: str
    answer_event_id: str
    evidence_event_id: str
    runs: list[str]


@dataclass(frozen=True, slots=True)
class PairPage:
    """Pairs, oldest first. `next` is the cursor of the page that follows; None where there is none."""

    pairs: list[PairRow]
    next: str | None


@dataclass(frozen=True, slots=True)
class UnpairedRow:
    """An answer with a thumb, or of an imported file, that is in no pair. The prompt is its messages as JSON."""

    message_id: str
    prompt: str
    answer: str
    liked: bool
    category: str
    question: str
    user: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class UnpairedPage:
    """Such answers, oldest first; `next` as in PairPage."""

    unpaired: list[UnpairedRow]
    next: str | None


def pairs_page(
    connection: Connection,
    *,
    state: str | None = None,
    source: str | None = None,
    category: str | None = None,
    after: str | None = None,
    limit: int,
) -> PairPage:
    """Pairs of a state, a source or a matter, or all of them.

    Raises:
        PermanentError: `after` is no cursor of a page.
    """
    filters = {"state": state, "source": source, "category": category}
    page_rows, cursor = _page(connection, _PAIRS + _PAGE, "pair_id", after, limit, filters)
    return PairPage([PairRow(**row) for row in page_rows], cursor)


def pair_row(connection: Connection, pair_id: str) -> PairRow | None:
    """One pair as a page shows it."""
    pair_rows = rows(connection, f"{_PAIRS} WHERE pair_id = $pair_id", {"pair_id": pair_id})
    return PairRow(**pair_rows[0]) if pair_rows else None


def unpaired_page(connection: Connection, *, after: str | None = None, limit: int) -> UnpairedPage:
    """Liked and disliked answers that no pair uses and that may be trained on.

    Raises:
        PermanentError: `after` is no cursor of a page.
    """
    page_rows, cursor = _page(connection, _UNPAIRED, "message_id", after, limit, {})
    categories = _categories(connection, {row["policy_id"] for row in page_rows if row["category"] is None})
    unpaired = []
    for row in page_rows:
        policy = row.pop("policy_id"), row.pop("version")
        if row["category"] is None:
            row["category"] = categories.get(policy, policy[0])
        unpaired.append(UnpairedRow(**row))
    return UnpairedPage(unpaired, cursor)


def rows(connection: Connection, query: str, values: Row | Sequence[object] = ()) -> list[Row]:
    """Rows by column."""
    result = connection.execute(query, values or None)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _page(connection: Connection, query: str, name: str, after: str | None, limit: int, filters: Row) -> tuple[list[Row], str | None]:
    moment, last = _position(after)
    # One more than asked for tells whether another page follows.
    page_rows = rows(connection, query, filters | {"moment": moment, "name": last, "limit": limit + 1})
    page = page_rows[:limit]
    if len(page_rows) <= limit:
        return page, None
    moment = (page[-1]["occurred_at"] - _EPOCH) // timedelta(microseconds=1)
    return page, f"{moment}.{page[-1][name]}"


def _position(after: str | None) -> tuple[int, str]:
    if after is None:
        return 0, ""
    cursor = _CURSOR.fullmatch(after)
    if cursor is None:
        msg = f"after={after!r} is no cursor; give the `next` of the page before, or nothing for the first page"
        raise PermanentError(msg)
    return int(cursor[1]), cursor[2]


def _categories(connection: Connection, policy_ids: set[str]) -> dict[tuple[str, str], str]:
    """What each version's front matter calls its matter."""
    versions = connection.execute(
        "SELECT policy_id, version, any_value(body ->> 'text') FROM policies WHERE NOT withdrawn AND policy_id IN (SELECT unnest($1)) GROUP BY ALL",
        [list(policy_ids)],
    ).fetchall()
    return {(policy_id, version): category_of(policy_id, text) for policy_id, version, text in versions}
