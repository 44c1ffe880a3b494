"""When the analysts' copy is renewed."""

from pathlib import Path
from typing import Any

import pytest

from csqa_loop.analytics import publisher
from csqa_loop.analytics.copy import publish_analytics
from csqa_loop.analytics.publisher import AnalyticsPublisher
from tests import events as make
from tests.boards import Board


@pytest.fixture
def publications(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where a copy was published, once for each time."""
    made: list[Path] = []

    def counted(cursor: Any, target: Path, *rest: Any) -> None:
        publish_analytics(cursor, target, *rest)
        made.append(target)

    monkeypatch.setattr(publisher, "publish_analytics", counted)
    return made


async def nothing_live() -> tuple[()]:
    return ()


async def test_it_publishes_what_is_new_and_nothing_twice(publications: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "_REST", 0.0)
    board = Board()
    target = board.folder / "analytics.duckdb"
    beats = AnalyticsPublisher(board, target, nothing_live)
    await beats.beat()
    await beats.beat()
    assert publications == [target]
    await board.happen(make.thumb(1))
    await beats.beat()
    assert publications == [target] * 2
    target.unlink()
    await beats.beat()
    assert publications == [target] * 3


async def test_after_a_publication_it_rests(publications: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "_REST", 1e9)
    board = Board()
    beats = AnalyticsPublisher(board, board.folder / "analytics.duckdb", nothing_live)
    await beats.beat()
    await board.happen(make.thumb(1))
    await beats.beat()
    assert len(publications) == 1
