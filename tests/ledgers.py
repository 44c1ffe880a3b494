"""Real ledgers for tests."""

from pathlib import Path

from csqa_loop.evidence.derivation import deriving
from csqa_loop.evidence.rules.pairs import PairPolicy
from csqa_loop.ledger import Ledger


def ledger_at(file: Path, policy: PairPolicy | None = None, *, memory_mib: int | None = None) -> Ledger:
    """A ledger that is not open yet."""
    return Ledger(file, deriving(policy or PairPolicy()), memory_mib=memory_mib)
