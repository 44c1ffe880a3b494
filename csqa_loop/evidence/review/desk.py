"""The desk where agents decide: an item belongs to one of them at a time, and a decision is published to the log before anyone is shown it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import UUID

from csqa_loop.errors import PermanentError
from csqa_loop.events import ReviewDecided
from csqa_loop.evidence.review import queue as reviews
from csqa_loop.evidence.review.rules.items import QueueItem, QueuePage, ShownLease, WholeItem, WholePage
from csqa_loop.evidence.review.rules.leases import Lease, Leases
from csqa_loop.evidence.review.rules.reviewing import (
    Decision,
    DecisionRefusedError,
    Item,
    Past,
    decided,
    decision_in,
    import_id,
    says_the_same,
    text_in,
)
from csqa_loop.ledger.service import LedgerService
from csqa_loop.log.bus import Bus
from csqa_loop.text.masking import NOTHING, Known, may_tell
from csqa_loop.text.vouching import Vouched, vouched

IN_LEDGER_SECONDS = 2.0
_IMPORTED_SECONDS = 10.0
_Item = TypeVar("_Item", QueueItem, WholeItem)


class TakenError(PermanentError):
    """Another agent has the item, or the agent who decides does not."""


class NoItemError(PermanentError):
    """Nothing to review has this id."""


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """The outcome of one row of an import."""

    review_id: str
    outcome: Literal["accepted", "known", "left alone", "refused"]
    reason: str = ""
    event_id: str | None = None


class Desk:
    """Items, leases and decisions of the one active loop."""

    def __init__(
        self,
        ledger: LedgerService,
        bus: Bus,
        clock: Callable[[], datetime],
        *,
        token_limit: int,
        tokens_in: Callable[[str], int],
        lease_seconds: float = 300.0,
        own: Known = NOTHING,
        secret: bytes = b"",
    ) -> None:
        self._ledger = ledger
        self._bus = bus
        self._clock = clock
        self._token_limit = token_limit
        self._tokens_in = tokens_in
        self._leases = Leases(lease_seconds)
        self._own = own
        self._secret = secret
        # Until the ledger has a decision, sending it again sends the same event: a retry after an error decides once.
        self._on_their_way: dict[str, ReviewDecided] = {}

    # --- looking ----------------------------------------------------------------------------------------------------

    async def page(self, queue_filter: reviews.QueueFilter, *, after: str, limit: int, whole: bool, agent: str) -> QueuePage | WholePage:
        """A page of the queue for an agent, each item with its lease; with `whole`, each with all that is known about it."""
        page = await self._ledger.ask(reviews.queue_page, queue_filter, after=after, limit=limit)
        if whole:
            items = await self._ledger.ask(reviews.whole_items, [item.review_id for item in page.items])
            return WholePage([self._with_lease(item) for item in items], page.next, page.counts, agent)
        return replace(page, items=[self._with_lease(item) for item in page.items], agent=agent)

    async def item(self, review_id: str) -> WholeItem:
        """One item whole.

        Raises:
            NoItemError: there is none.
        """
        items = await self._ledger.ask(reviews.whole_items, [review_id])
        if not items:
            raise NoItemError(f"no item {review_id!r}: it never was one, or a better answer has come from elsewhere")
        return self._with_lease(items[0])

    def _with_lease(self, item: _Item) -> _Item:
        lease = self._leases.of(item.review_id, self._clock())
        return replace(item, lease=shown_lease(lease) if lease else None)

    # --- leases -----------------------------------------------------------------------------------------------------

    async def take(self, review_id: str, agent: str) -> Lease:
        """Take or renew the item.

        Raises:
            NoItemError: there is none.
            TakenError: another agent has it.
        """
        await self.item(review_id)
        lease = self._leases.take(review_id, agent, self._clock())
        if lease.agent != agent:
            raise TakenError(f"{lease.agent} has this item until {lease.until:%H:%M:%S} UTC")
        return lease

    def give_back(self, review_id: str, agent: str) -> None:
        """Free the item for others."""
        self._leases.give_back(review_id, agent)

    # --- deciding ---------------------------------------------------------------------------------------------------

    async def decide(self, review_id: str, decision: Decision, agent: str) -> tuple[ReviewDecided, bool]:
        """The published decision, and whether the ledger has it already.

        Raises:
            NoItemError, TakenError, DecisionRefusedError, DecidedMeanwhileError: nothing was published.
            TransientError: the log did not acknowledge; sending the same again is safe.
        """
        item = await self.item(review_id)
        lease = self._leases.of(review_id, self._clock())
        if lease is None or lease.agent != agent:
            holder = f"{lease.agent} has it until {lease.until:%H:%M:%S} UTC" if lease else "nobody has it now"
            raise TakenError(f"{agent} does not have this item ({holder}); take it with POST /v1/reviews/{review_id}/lease")
        event = self._fact(_item(item), *await self._masked(decision, item.message_id), agent)
        await self._bus.publish(event)
        return event, await self._in_ledger(event, agent, IN_LEDGER_SECONDS)

    async def import_rows(self, rows: Sequence[Mapping[str, Any]], agent: str) -> list[RowOutcome]:
        """Decide many items at once. A row without action and correction is left alone.

        Raises:
            TransientError: the log did not acknowledge; importing the same file again is safe.
        """
        names = [_named(row) for row in rows]
        whole_items = await self._ledger.ask(reviews.whole_items, names)
        items = {item.review_id: _item(item) for item in whole_items}
        outcomes: list[RowOutcome] = []
        events: list[ReviewDecided] = []
        for row, name in zip(rows, names, strict=True):
            try:
                text_in(row, "review_id")
                decision = decision_in(row)
                if decision is None:
                    outcomes.append(RowOutcome(name, "left alone"))
                    continue
                if any(event.review_id == name for event in events):
                    raise TakenError("another row of this file decides the same item")
                item = items.get(name)
                if item is None:
                    raise NoItemError(f"no item {name!r}: it never was one, or a better answer has come from elsewhere")
                event = self._of_row(item, *await self._masked(decision, item.message_id), agent)
            except PermanentError as error:
                outcomes.append(RowOutcome(name, "refused", str(error)))
                continue
            if event is None:
                outcomes.append(RowOutcome(name, "known", "decided in just this way already"))
            else:
                events.append(event)
                outcomes.append(RowOutcome(name, "accepted", event_id=str(event.event_id)))
        await self._bus.publish(*events)
        for event in events:
            if not await self._in_ledger(event, agent, _IMPORTED_SECONDS):
                break  # the ledger lags behind the log; the others would only wait as long again
        return outcomes

    def _of_row(self, item: Item, decision: Decision, vouched_for: Vouched, agent: str) -> ReviewDecided | None:
        """The event of the decision; None where the item is decided this way already."""
        name = item.review_id
        if says_the_same(item, decision):
            return None
        lease = self._leases.take(name, agent, self._clock())
        if lease.agent != agent:
            raise TakenError(f"{lease.agent} has this item until {lease.until:%H:%M:%S} UTC")
        try:
            return self._fact(item, decision, vouched_for, agent, import_id(item, decision))
        except PermanentError:
            self._leases.give_back(name, agent)
            raise

    def _fact(self, item: Item, decision: Decision, vouched_for: Vouched, agent: str, event_id: UUID | None = None) -> ReviewDecided:
        waiting = self._on_their_way.get(item.review_id)
        if waiting is not None and _repeats(waiting, decision, agent):
            return waiting
        event = decided(item, decision, agent, self._clock(), token_limit=self._token_limit, tokens_in=self._tokens_in, event_id=event_id)
        event = event.model_copy(update={"stated": vouched_for.stated, "stated_proof": vouched_for.proof})
        self._on_their_way[item.review_id] = event
        return event

    async def _masked(self, decision: Decision, message_id: str) -> tuple[Decision, Vouched]:
        """The decision without personal data, as everything that enters the log, and what stays in it because a policy states it."""
        texts = (decision.corrected_answer or "", decision.note)
        told = any(map(may_tell, texts))
        policies = await self._ledger.ask(reviews.policy_texts) if told else ()
        known = vouched(self._secret, message_id, texts, self._own, policies) if told else Vouched(self._own)
        return Decision(
            decision.action, decision.corrected_answer and known.masked(decision.corrected_answer), known.masked(decision.note)
        ), known

    async def _in_ledger(self, event: ReviewDecided, agent: str, seconds: float) -> bool:
        """Whether the ledger has it. Until then the agent keeps the item: to all others it would still look open."""
        if not await self._ledger.wait_for(event.event_id, seconds):
            return False
        self._on_their_way.pop(event.review_id, None)
        self._leases.give_back(event.review_id, agent)
        return True


def shown_lease(lease: Lease) -> ShownLease:
    """The lease as the API shows it."""
    return ShownLease(lease.agent, lease.until.isoformat())


def _item(whole: WholeItem) -> Item:
    last = whole.history[-1] if whole.history else None
    past = (
        Past(last.event_id, last.action, last.corrected_answer, last.reviewer, datetime.fromisoformat(last.occurred_at)) if last else None
    )
    return Item(
        whole.review_id,
        whole.kind,
        whole.subject,
        whole.message_id,
        whole.conversation_id,
        whole.state,
        whole.imported,
        bool(whole.pair and whole.pair.too_long),
        bool(whole.pair and whole.pair.masked),
        past,
    )


def _named(row: Mapping[str, Any]) -> str:
    """The review id in a row; empty where it is no text."""
    try:
        return text_in(row, "review_id")
    except DecisionRefusedError:
        return ""


def _repeats(event: ReviewDecided, decision: Decision, agent: str) -> bool:
    decided = (event.action, event.corrected_answer or "", event.note, event.reviewer)
    return decided == (decision.action, (decision.corrected_answer or "").strip(), decision.note, agent)
