"""Backups on a schedule: one every few hours, the newest kept."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from csqa_loop.errors import CsqaError
from csqa_loop.ledger.authority import Authority
from csqa_loop.ledger.backup import Backup, backups_in, drop_old, take_backup
from csqa_loop.ledger.service import LedgerService

_log = logging.getLogger(__name__)
_BEAT_SECONDS = 30.0


class Backups:
    """Takes backups of the running ledger."""

    def __init__(
        self,
        ledger: LedgerService,
        authority: Authority,
        clock: Callable[[], datetime],
        *,
        folder: Path | None,
        every: timedelta,
        keep: int,
    ) -> None:
        """`folder` None: only when somebody asks for one."""
        self._ledger = ledger
        self._authority = authority
        self._clock = clock
        self._folder = folder
        self._every = every
        self._keep = keep
        self._one = asyncio.Lock()
        self.trouble: str | None = None
        """Why the last scheduled backup failed."""

    async def run(self, ready: Callable[[], bool]) -> None:
        """Take one whenever it is due, until cancelled. The schedule is kept by the folder, so a restart neither skips nor doubles one."""
        while self._folder is not None:
            if ready():
                try:
                    await self._if_due(self._folder)
                    self.trouble = None
                except (CsqaError, OSError) as error:
                    self.trouble = str(error)
                    _log.warning("backup: %s; trying again in %g s", error, _BEAT_SECONDS)
            await asyncio.sleep(_BEAT_SECONDS)

    async def take(self, folder: Path) -> Backup:
        """Take one now.

        Raises:
            TransientError: the disk refused.
        """
        async with self._one:
            backup = await self._ledger.ask(take_backup, folder, self._authority.ledger_id, self._clock())
        _log.info("backup %s: %d events, %d bytes", folder / backup.name, backup.events, backup.bytes)
        return backup

    async def _if_due(self, folder: Path) -> None:
        taken = await asyncio.to_thread(backups_in, folder)
        # A clock that jumped back must not end backups: one of the future counts as none.
        last = max((backup.taken_at for backup in taken if backup.taken_at <= self._clock()), default=None)
        if last is not None and self._clock() - last < self._every:
            return
        await self.take(folder)
        for name in await asyncio.to_thread(drop_old, folder, self._keep):
            _log.info("backup %s is older than the newest %d and was removed", folder / name, self._keep)
