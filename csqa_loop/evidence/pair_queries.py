"""Questions about pairs and examples: what may be trained on, what only evaluates, and where each came from."""

import json
from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_args

from csqa_loop.events import ChatMessage
from csqa_loop.evidence.judge.rules.judging import Candidate
from csqa_loop.evidence.rules.examples import UnpairedExample
from csqa_loop.evidence.rules.pairs import Pair, PairState
from csqa_loop.ledger.connection import Connection
from csqa_loop.ledger.rules.holdout import held_out

_COLUMNS, _EXAMPLE_COLUMNS = (
    ", ".join(f"{field.name}::VARCHAR" if field.name.endswith("event_id") else f'"{field.name}"' for field in fields(kind))
    for kind in (Pair, UnpairedExample)
)
_FIELDS, _EXAMPLE_FIELDS = (tuple(field.name for field in fields(kind)) for kind in (Pair, UnpairedExample))


def fresh_pairs(connection: Connection) -> list[Pair]:
    """Pairs that may be trained on and that no run has claimed, oldest first."""
    return _pairs(connection, "state = 'fresh'")


def holdout_pairs(connection: Connection) -> list[Pair]:
    """Every pair that only ever evaluates."""
    return _pairs(connection, "state = 'held_out'")


def pairs_by_id(connection: Connection, pair_ids: Sequence[str]) -> list[Pair]:
    """The named pairs, oldest first."""
    return _pairs(connection, "pair_id IN (SELECT unnest($1))", [list(pair_ids)])


def states_of(connection: Connection, pair_ids: Sequence[str]) -> dict[str, str]:
    """The state of each named pair; "gone" where nothing makes it any more."""
    query = "SELECT pair_id, state FROM pair_states WHERE pair_id IN (SELECT unnest($1))"
    return dict.fromkeys(pair_ids, "gone") | dict(connection.execute(query, [list(pair_ids)]).fetchall())


def taught_pairs(connection: Connection, champion: str) -> list[Pair]:
    """Pairs that `champion` and the adapters it continues were trained on and that may still be trained on, oldest first."""
    return _pairs(
        connection,
        """
        state = 'claimed' AND pair_id IN (
            WITH RECURSIVE line AS (
                SELECT $1 AS adapter UNION SELECT l.parent FROM line JOIN lessons l USING (adapter)
            ) SELECT pair_id FROM lessons WHERE adapter IN (FROM line)
        )
        """,
        [champion],
    )


def fresh_examples(connection: Connection) -> list[UnpairedExample]:
    """Rated answers and demonstrations that may be trained on and that no run has claimed, oldest first."""
    return _examples(connection, "example_id NOT IN (FROM taken)")


def examples_by_id(connection: Connection, example_ids: Sequence[str]) -> list[UnpairedExample]:
    """The named ones, as far as they may still be trained on, oldest first."""
    return _examples(connection, "example_id IN (SELECT unnest($1))", [list(example_ids)])


def recorded_since(connection: Connection, event_ids: Sequence[str]) -> datetime | None:
    """When the log had the first of these events; None where the ledger has none of them."""
    row = connection.execute(
        "SELECT min(recorded_at) FROM events WHERE event_id IN (SELECT unnest($1)::UUID)", [list(event_ids)]
    ).fetchone()
    return row[0].astimezone(UTC) if row and row[0] else None


def pair_counts(connection: Connection) -> dict[str, int]:
    """`total`, and how many are in each state."""
    counts = {"total": 0} | dict.fromkeys(get_args(PairState), 0)
    for state, count in connection.execute("SELECT state, count(*) FROM pair_states GROUP BY state").fetchall():
        counts[state] = count
        counts["total"] += count
    return counts


def proposal_candidates(connection: Connection, limit: int, skip: Collection[str]) -> list[Candidate]:
    """Answers blamed on generation that have no better answer, were not rejected and may be trained on, the oldest first; never one in `skip`."""
    cursor = connection.execute(
        """
        SELECT a.conversation_id, a.message_id, a.question, a.messages, a.answer, a.adapter, a.policy_id, a.section FROM (
            SELECT message_id, min(occurred_at) AS since FROM blames
            WHERE message_id NOT IN (SELECT message_id FROM pairs) AND message_id NOT IN (SELECT message_id FROM proposals)
                AND message_id NOT IN (SELECT unnest($1)) AND review_id NOT IN (SELECT review_id FROM review_states WHERE action = 'reject')
            GROUP BY message_id HAVING bool_and(fault = 'generation' AND basis <> 'answer' AND NOT corrected)
        ) b JOIN answers a USING (message_id)
        QUALIFY is_first_answer(message_id, a.occurred_at, a.event_id) ORDER BY b.since, message_id
        """,
        [list(skip)],
    )
    candidates: list[Candidate] = []
    while len(candidates) < limit and (row := cursor.fetchone()) is not None:
        conversation, message, question, messages, answer, adapter, policy_id, section = row
        if not held_out(policy_id, section):
            chat = tuple(ChatMessage(**turn) for turn in json.loads(messages))
            candidates.append(Candidate(conversation, message, question, chat, answer, adapter))
    return candidates


def _pairs(connection: Connection, condition: str, values: Sequence[object] = ()) -> list[Pair]:
    query = f"SELECT {_COLUMNS} FROM pair_states WHERE {condition} ORDER BY occurred_at, pair_id"  # noqa: S608 - our own names
    return [_pair(row) for row in connection.execute(query, list(values)).fetchall()]


def _examples(connection: Connection, condition: str, values: Sequence[object] = ()) -> list[UnpairedExample]:
    query = f"SELECT {_EXAMPLE_COLUMNS} FROM training_examples WHERE {condition} ORDER BY occurred_at, example_id"  # noqa: S608 - our own names
    examples = (dict(zip(_EXAMPLE_FIELDS, row, strict=True)) for row in connection.execute(query, list(values)).fetchall())
    return [UnpairedExample(**row | {"occurred_at": row["occurred_at"].astimezone(UTC)}) for row in examples]


def _pair(row: tuple[Any, ...]) -> Pair:
    values = dict(zip(_FIELDS, row, strict=True))
    return Pair(
        **values
        | {
            "occurred_at": values["occurred_at"].astimezone(UTC),
            "quoted": tuple(map(tuple, values["quoted"])),
            "numbers": tuple(values["numbers"]),
            "held": tuple(values["held"]),
        }
    )
