"""Which policies were current when: what blame is judged by."""

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime

import duckdb

from csqa_loop.events import PolicyPublished, PolicyWithdrawn
from csqa_loop.evidence.rules.corpus import Corpus
from csqa_loop.knowledge.rules.current import CurrentPolicies
from csqa_loop.knowledge.rules.passages import PolicyPassage, passages_of

_KEPT = 4
"""Corpora kept ready: batches are nearly in order, so cases of one week share one."""
_Change = PolicyPublished | PolicyWithdrawn


class Timeline:
    """All versions of all policies, in the order in which they came into force."""

    def __init__(self, chunk_characters: int) -> None:
        self._chunk_characters = chunk_characters
        self._changes: list[tuple[datetime, str, _Change]] = []
        self._passages: dict[tuple[str, str], tuple[PolicyPassage, ...]] = {}
        self._corpora: OrderedDict[int, Corpus] = OrderedDict()

    def load(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Start from what the ledger holds."""
        self._changes.clear()
        self._corpora.clear()
        for withdrawn, body in connection.execute("SELECT withdrawn, body FROM policies").fetchall():
            kind = PolicyWithdrawn if withdrawn else PolicyPublished
            self._insert(kind.model_validate_json(body))

    def take(self, changes: Sequence[_Change]) -> datetime | None:
        """Add changes; the earliest moment from which blame may have to be judged again, None where there are none."""
        for change in changes:
            self._insert(change)
        if not changes:
            return None
        self._corpora.clear()
        return min(change.occurred_at for change in changes)

    def at(self, moment: datetime) -> Corpus:
        """The passages of every policy that was current at `moment`."""
        place = bisect_right(self._changes, moment.astimezone(UTC), key=lambda change: change[0])
        if place not in self._corpora:
            self._corpora[place] = self._build(place)
            if len(self._corpora) > _KEPT:
                self._corpora.popitem(last=False)
        self._corpora.move_to_end(place)
        return self._corpora[place]

    def category(self, policy_id: str, version: str) -> str:
        """What a version's front matter calls its matter; the policy's id where it says nothing."""
        passages = self._passages.get((policy_id, version), ())
        return next((passage.category for passage in passages), policy_id)

    def _insert(self, change: _Change) -> None:
        insort(self._changes, (change.occurred_at, str(change.event_id), change), key=lambda entry: entry[:2])

    def _build(self, place: int) -> Corpus:
        policies = CurrentPolicies()
        for _, _, change in self._changes[:place]:
            policies.take(change)
        return Corpus(passage for _, change in sorted(policies.current.items()) for passage in self._cut(change))

    def _cut(self, change: PolicyPublished) -> tuple[PolicyPassage, ...]:
        key = (change.policy_id, change.version)
        if key not in self._passages:
            self._passages[key] = passages_of(*key, change.text, self._chunk_characters)
        return self._passages[key]
