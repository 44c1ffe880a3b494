"""The protocol of what derives tables from the ledger's facts. The rules are not the ledger's: `evidence` has them."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import duckdb
import pyarrow as pa

Append = Callable[[str, list[dict[str, Any]]], None]
"""Adds rows to a table."""


class DerivedTables(Protocol):
    """Keeps derived tables up to date, in the caller's transaction."""

    def is_current(self) -> bool:
        """Whether the tables were made by this code with these settings."""
        ...

    def rebuild(self) -> None:
        """Make everything anew from the facts."""
        ...

    def follow(self, fresh: Mapping[str, pa.Table], *, later: bool = False) -> None:
        """Bring the tables up to what `fresh` adds to the facts (rows a table), which are inserted already; `later`: note what is to be done."""
        ...

    def is_behind(self) -> bool:
        """Whether facts are left whose rows `follow` put off."""
        ...

    def catch_up(self, most: int | None = None) -> None:
        """Derive a part of what was put off: `most` messages, or as many as go well together."""
        ...

    def pass_over(self) -> str:
        """Leave the message that `catch_up(1)` would derive next without pairs, blames and ratings; its name."""
        ...


Derive = Callable[[duckdb.DuckDBPyConnection, Append], DerivedTables]
"""The derivation of one connection."""
