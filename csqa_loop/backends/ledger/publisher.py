"""The analysts' copy, published when there is something new in it."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import duckdb

from csqa_loop.backends.analytics import LiveEstimate, publish_analytics
from csqa_loop.backends.ledger.service import LedgerService
from csqa_loop.domain.errors import TransientError
from csqa_loop.domain.events import now


class AnalyticsPublisher:
    """Publishes `target` where the ledger or the open experiment's numbers changed since the last time."""

    def __init__(self, ledger: LedgerService, target: Path, live: Callable[[], Awaitable[Sequence[LiveEstimate]]]) -> None:
        self._ledger = ledger
        self._target = target
        self._live = live
        self._published: object = None

    async def beat(self) -> None:
        """Publish once, if due.

        Raises:
            TransientError: the disk refused; the old file is still there.
        """
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
