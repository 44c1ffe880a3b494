"""The analysts' copy, published when there is something new in it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import duckdb

from csqa_loop.analytics.copy import LiveEstimate, publish_analytics
from csqa_loop.errors import CsqaError, TransientError
from csqa_loop.events import now
from csqa_loop.ledger.service import LedgerService

_log = logging.getLogger(__name__)
_REST = 2.0
"""After a publication, this many times its duration without one: a large ledger must not be copied all the time."""


class AnalyticsPublisher:
    """Publishes `target` where the ledger or the open experiment's numbers changed since the last time."""

    def __init__(self, ledger: LedgerService, target: Path, live: Callable[[], Awaitable[Sequence[LiveEstimate]]]) -> None:
        self._ledger = ledger
        self._target = target
        self._live = live
        self._published: object = None
        self._rests_until = 0.0
        self.trouble: str | None = None
        """Why the last publication failed."""

    async def run(self, every_seconds: float, *, ready: Callable[[], bool]) -> None:
        """Publish until cancelled, whenever the ledger is `ready`."""
        while True:
            try:
                if ready():
                    await self.beat()
                    self.trouble = None
            except CsqaError as error:
                self.trouble = str(error)
                _log.warning("analytics: %s", error)
            await asyncio.sleep(every_seconds)

    async def beat(self, *, last: bool = False) -> None:
        """Publish once, if due. The `last` one of a process does not rest: the copy must not end before the ledger does.

        Raises:
            TransientError: the disk refused; the old file is still there.
        """
        began = time.monotonic()
        if began < self._rests_until and not last:
            return
        live = await self._live()
        content = (self._ledger.batches, tuple(live))
        if content == self._published and self._target.exists():
            return
        try:
            await self._ledger.ask(publish_analytics, self._target, now(), live)
        except (duckdb.Error, OSError) as error:
            msg = f"{self._target} could not be published: {error}"
            raise TransientError(msg) from error
        self._published = content
        ended = time.monotonic()
        self._rests_until = ended + _REST * (ended - began)
