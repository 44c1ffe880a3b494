"""The right to decide on a log: claimed in the log itself, held by one ledger, lost to a later claim."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import DecisionEvent, LedgerOpened
from csqa_loop.events.wire import decode
from csqa_loop.files.durable import write_once
from csqa_loop.ledger.connection import Connection
from csqa_loop.ledger.rules.claims import in_force, refusal, replaces
from csqa_loop.ledger.service import LedgerService
from csqa_loop.log.bus import Bus
from csqa_loop.log.records import LogRecord

_log = logging.getLogger(__name__)
ID_FILE = "ledger.id"
"""Beside the ledger's file, so that a ledger that was lost and is made of the log once more is still the same."""


class LedgerRefusedError(PermanentError):
    """The log belongs to another ledger."""


class Authority:
    """What one process may decide. Nothing is decided before `claim` and after `is_lost`."""

    def __init__(
        self,
        folder: Path,
        ledger: LedgerService,
        bus: Bus,
        read_decisions: Callable[[], AsyncIterator[LogRecord]],
        clock: Callable[[], datetime],
    ) -> None:
        """`folder`: the ledger's own. `read_decisions`: every record that `csqa.decisions` holds now."""
        self._folder = folder
        self._ledger = ledger
        self._bus = bus
        self._read = read_decisions
        self._clock = clock
        self._order: tuple[str, str] | None = None
        self._ordered = asyncio.Event()
        self.mine: LedgerOpened | None = None
        """The claim of this process, once it is in force."""
        self.lost_to: LedgerOpened | None = None
        """The claim that took its place."""

    @property
    def ledger_id(self) -> str:
        """The ledger's name, made with the folder."""
        file = self._folder / ID_FILE
        if not file.exists():
            write_once(file, f"l-{uuid4().hex[:16]}\n".encode())
        name = file.read_text().strip()
        if not name:
            raise PermanentError(f"{file} is empty; it must hold the ledger's name, as `csqa ledger check` on the log's ledger shows it")
        return name

    async def claim(self) -> None:
        """Claim the log for this ledger.

        Raises:
            LedgerRefusedError: it belongs to another one, and no operator ordered this one to take over.
            TransientError: Kafka does not answer, or another ledger claimed it at the same moment.
        """
        holder = await self.holder()
        refused = refusal(holder, self.ledger_id)
        if refused and self._order is None:
            raise LedgerRefusedError(refused)
        operator, reason = self._order if refused and self._order else ("", "")
        # A broker that lost its log knows fewer terms than the ledger.
        past = [claim.term for claim in (holder, await self._ledger.ask(latest_claim)) if claim]
        mine = LedgerOpened(
            occurred_at=self._clock(),
            ledger_id=self.ledger_id,
            session=uuid4().hex,
            term=max(past, default=0) + 1,
            host=socket.gethostname(),
            folder=str(self._folder.resolve()),
            taken_over_by=operator,
            reason=reason,
        )
        await self._bus.publish(mine)
        holder = await self.holder()
        if holder is None or holder.session != mine.session:
            raise TransientError(f"another ledger claimed the log at the same moment: {holder.ledger_id if holder else 'none in the log'}")
        self.mine, self._order = mine, None
        _log.info("ledger %s decides on this log (term %d)", mine.ledger_id, mine.term)

    async def standing(self) -> tuple[bool, str]:
        """Whether this process may decide on this log, and how it stands, in words."""
        if self.lost_to is not None:
            return False, f"ledger {self.lost_to.ledger_id} on {self.lost_to.host} has decided on this log since term {self.lost_to.term}"
        if self.mine is not None:
            return True, f"ledger {self.mine.ledger_id}, term {self.mine.term}"
        return False, refusal(await self.holder(), self.ledger_id) or "the log is not claimed yet"

    async def holder(self) -> LedgerOpened | None:
        """Whose the log is now, as the log says it.

        Raises:
            TransientError: Kafka does not answer.
        """
        claims = []
        async for record in self._read():
            try:
                event = decode(DecisionEvent.topic, record.value)
            except PermanentError:
                continue
            if isinstance(event, LedgerOpened):
                claims.append(event)
        return in_force(claims)

    def order(self, operator: str, reason: str) -> None:
        """An operator wants this ledger to take over: the next `claim` does."""
        self._order = operator, reason
        self._ordered.set()

    async def ordered(self, seconds: float) -> None:
        """Return once somebody ordered it, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._ordered.wait()
        except TimeoutError:
            return
        self._ordered.clear()

    async def is_lost(self) -> bool:
        """Whether the ledger has taken a claim that replaces this process's. Once it has, this stays so."""
        if self.mine is None:
            return True
        if self.lost_to is None:
            self.lost_to = await self._ledger.ask(_replacing, self.mine)
        return self.lost_to is not None


def latest_claim(connection: Connection) -> LedgerOpened | None:
    """The claim of the highest term in the ledger."""
    row = connection.execute(
        "SELECT body FROM decisions WHERE type = 'LedgerOpened' ORDER BY (body ->> 'term')::INTEGER DESC LIMIT 1"
    ).fetchone()
    return LedgerOpened.model_validate_json(row[0]) if row else None


def _replacing(connection: Connection, mine: LedgerOpened) -> LedgerOpened | None:
    rows = connection.execute(
        "SELECT body FROM decisions WHERE type = 'LedgerOpened' AND (body ->> 'term')::INTEGER > ? ORDER BY (body ->> 'term')::INTEGER",
        [mine.term],
    ).fetchall()
    later = (LedgerOpened.model_validate_json(body) for (body,) in rows)
    return next((claim for claim in later if replaces(claim, mine)), None)
