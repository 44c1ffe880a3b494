"""When the analysts' copy is renewed."""

from pathlib import Path

from csqa_loop.analytics import publisher
from csqa_loop.analytics.publisher import AnalyticsPublisher


class CountingLedger:
    """Stands for the ledger's service: counts publications instead of making them."""

    def __init__(self) -> None:
        self.batches = 0
        self.publications = 0

    async def ask(self, query, target: Path, *rest) -> None:
        self.publications += 1
        target.touch()


async def nothing_live():
    return ()


async def test_it_publishes_what_is_new_and_nothing_twice(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(publisher, "_REST", 0.0)
    ledger = CountingLedger()
    beats = AnalyticsPublisher(ledger, tmp_path / "analytics.duckdb", nothing_live)
    await beats.beat()
    await beats.beat()
    assert ledger.publications == 1
    ledger.batches += 1
    await beats.beat()
    assert ledger.publications == 2
    (tmp_path / "analytics.duckdb").unlink()
    await beats.beat()
    assert ledger.publications == 3


async def test_after_a_publication_it_rests(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(publisher, "_REST", 1e9)
    ledger = CountingLedger()
    beats = AnalyticsPublisher(ledger, tmp_path / "analytics.duckdb", nothing_live)
    await beats.beat()
    ledger.batches += 1
    await beats.beat()
    assert ledger.publications == 1
