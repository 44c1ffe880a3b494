"""What `csqa up` shows: a live table on a terminal, one line a change elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from csqa_loop.local.supervisor import Supervisor
from csqa_loop.settings import Settings

_COLOURS = {"healthy": "green", "starting": "yellow", "unhealthy": "red", "stopped": "red"}


class UpView:
    """Shows a supervisor until it ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._printed: dict[str, str] = {}
        self._began = time.monotonic()
        self._complete = False

    def __enter__(self) -> Self:
        """Start drawing."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the last table on the screen."""
        if self._live:
            self._live.stop()

    def say(self, line: str) -> None:
        """Print one message."""
        if self._live:
            self._live.console.print(line, highlight=False, markup=False)
        else:
            print(line, flush=True)

    def show(self, supervisor: Supervisor) -> None:
        """Show the present state of every process."""
        if self._live:
            self._live.update(self._table(supervisor), refresh=True)
        for supervised in supervisor.supervised.values():
            if not self._live and self._printed.get(supervised.service.name) != supervised.health:
                self._printed[supervised.service.name] = supervised.health
                pid = f" pid {supervised.pid}" if supervised.pid else ""
                print(
                    f"{time.strftime('%H:%M:%S')} {supervised.service.name} {supervised.health}{pid} {supervised.service.url}", flush=True
                )
        if supervisor.all_healthy and not self._complete:
            self._complete = True
            where = f"chat at {self._settings.gateway_url}/v1, operators at {self._settings.console_url}"
            self.say(f"all healthy after {time.monotonic() - self._began:.0f} s: {where}; Ctrl-C stops everything")
            sys.stdout.flush()

    def _table(self, supervisor: Supervisor) -> Table:
        table = Table(title=f"csqa up ({self._settings.var})", title_justify="left")
        for column in ("process", "health", "pid", "restarts", "url"):
            table.add_column(column)
        for supervised in supervisor.supervised.values():
            health = f"[{_COLOURS[supervised.health]}]{supervised.health}[/]"
            pid = "elsewhere" if supervised.service.external else str(supervised.pid or "-")
            table.add_row(supervised.service.name, health, pid, str(supervised.restarts), supervised.service.url)
        return table
