"""Which ledger a log has: one, named in the log itself, until an operator orders another one to take its place."""

from collections.abc import Iterable

from csqa_loop.events import LedgerOpened


def in_force(claims: Iterable[LedgerOpened]) -> LedgerOpened | None:
    """The claim that counts, of all of a log in its order; None where the log has none."""
    holder: LedgerOpened | None = None
    for claim in claims:
        if holder is None or replaces(claim, holder):
            holder = claim
    return holder


def replaces(claim: LedgerOpened, holder: LedgerOpened) -> bool:
    """Whether a later claim takes the holder's place: a new start of the same ledger, or another one's by order.

    Of two that claim the same term the first in the log has it.
    """
    return claim.term > holder.term and (claim.ledger_id == holder.ledger_id or bool(claim.taken_over_by))


def refusal(holder: LedgerOpened | None, ledger_id: str) -> str | None:
    """Why this ledger may not decide on this log; None where it may."""
    if holder is None or holder.ledger_id == ledger_id:
        return None
    return (
        f"this log belongs to ledger {holder.ledger_id} in {holder.folder} on {holder.host} (since {holder.occurred_at:%Y-%m-%d %H:%M:%S} UTC), and this is "
        f"ledger {ledger_id}; end this loop, or give its ledger the place of the other one with `csqa ledger takeover --operator NAME --reason TEXT`"
    )
