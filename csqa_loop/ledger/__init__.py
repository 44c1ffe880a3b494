"""The ledger: DuckDB. One process opens the file; everything else asks that process."""

from csqa_loop.ledger.store import Ledger

__all__ = ["Ledger"]
