"""Which policies were current when: what blame is judged by."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Self

import duckdb

from csqa_loop.events import PolicyPublished, PolicyWithdrawn
from csqa_loop.evidence.rules.corpus import Corpus
from csqa_loop.knowledge.rules.current import CurrentPolicies
from csqa_loop.knowledge.rules.passages import PolicyPassage, passages_of

_KEPT = 4
"""Corpora kept ready: batches are nearly in order, so cases of one week share one."""
_Place = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Change:
    """A version of a policy, or its end."""

    place: _Place
    """(epoch, offset, event id): the order among the changes of one policy, whatever clocks say."""
    recorded_at: datetime
    event: PolicyPublished | PolicyWithdrawn

    @classmethod
    def of(cls, epoch: int, offset: int, event_id: object, recorded_at: datetime, withdrawn: bool, body: str) -> Self:
        """From a row of the ledger."""
        kind = PolicyWithdrawn if withdrawn else PolicyPublished
        return cls((epoch, offset, str(event_id)), recorded_at.astimezone(UTC), kind.model_validate_json(body))


class Timeline:
    """All versions of all policies. Each came into force when the log had it, and never before the one that it followed there."""

    def __init__(self, chunk_characters: int) -> None:
        self._chunk_characters = chunk_characters
        self._of_policy: dict[str, list[tuple[datetime, Change]]] = {}
        """Its changes in the order of the log, and since when each was in force."""
        self._all: list[tuple[datetime, Change]] = []
        """By when they came into force; those of one policy in the order of the log."""
        self._passages: dict[tuple[str, str], tuple[PolicyPassage, ...]] = {}
        self._corpora: OrderedDict[int, Corpus] = OrderedDict()

    def load(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Start from what the ledger holds."""
        self._of_policy.clear()
        rows = connection.execute('SELECT epoch, "offset", event_id, recorded_at, withdrawn, body FROM policies').fetchall()
        self.take([Change.of(*row) for row in rows])

    def take(self, changes: Sequence[Change]) -> datetime | None:
        """Add changes; the earliest moment from which blame may have to be judged again, None where nothing has changed."""
        touched: set[tuple[datetime, _Place]] = set()
        added: dict[str, list[Change]] = {}
        for change in changes:
            added.setdefault(change.event.policy_id, []).append(change)
        for policy_id, more in added.items():
            before = self._of_policy.get(policy_id, [])
            after = _in_force([*(change for _, change in before), *more])
            self._of_policy[policy_id] = after
            touched |= {(since, change.place) for since, change in before} ^ {(since, change.place) for since, change in after}
        if not touched:
            return None
        self._corpora.clear()
        self._all = sorted((entry for of_one in self._of_policy.values() for entry in of_one), key=lambda entry: (entry[0], entry[1].place))
        return min(since for since, _ in touched)

    def at(self, moment: datetime) -> Corpus:
        """The passages of every policy that was current at `moment`."""
        place = bisect_right(self._all, moment.astimezone(UTC), key=lambda entry: entry[0])
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

    def _build(self, place: int) -> Corpus:
        policies = CurrentPolicies()
        for _, change in self._all[:place]:
            policies.take(change.event)
        return Corpus(passage for _, event in sorted(policies.current.items()) for passage in self._cut(event))

    def _cut(self, event: PolicyPublished) -> tuple[PolicyPassage, ...]:
        key = (event.policy_id, event.version)
        if key not in self._passages:
            self._passages[key] = passages_of(*key, event.text, self._chunk_characters)
        return self._passages[key]


def _in_force(changes: Iterable[Change]) -> list[tuple[datetime, Change]]:
    """One policy's changes in the order of the log, and since when each was in force."""
    ordered = sorted(changes, key=lambda change: change.place)
    return list(zip(accumulate((change.recorded_at for change in ordered), max), ordered, strict=True))
