"""A ledger that cannot be opened: not healthy after the limit, with the reason and what to do."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from csqa_loop import bootstrap
from csqa_loop.http.health import ready
from csqa_loop.settings import KafkaSettings, LedgerSettings, Settings
from streams.loop import LoopStream
from tests.fakes.model_server import FakeModelServer
from tests.waiting import eventually

pytestmark = pytest.mark.fault(13, "a ledger that does not open")


def damaged(file: Path) -> None:
    file.write_bytes(b"this is no database" * 1000)


def held_by_another_program(file: Path) -> None:
    duckdb.connect(str(file)).close()
    file.unlink()
    file.mkdir()  # what no process may open, whoever it belongs to


def written_by_newer_code(file: Path) -> None:
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE migrations (name VARCHAR PRIMARY KEY, sha VARCHAR, applied_at TIMESTAMPTZ)")
        connection.execute("INSERT INTO migrations VALUES ('9999-later.sql', 'x', now())")


@pytest.mark.parametrize("spoil", [damaged, held_by_another_program, written_by_newer_code])
async def test_it_is_red_after_the_limit_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(bootstrap, "build_model_server", lambda _: FakeModelServer())
    settings = Settings(var=tmp_path, kafka=KafkaSettings(servers="127.0.0.1:1"), ledger=LedgerSettings(open_seconds=0.3))
    settings.ledger_file.parent.mkdir(parents=True)
    spoil(settings.ledger_file)
    stream = LoopStream(settings)
    running = asyncio.create_task(stream.run())
    try:
        await eventually(lambda: stream.phase == "opening" and bool(stream.trouble), "a failed try")
        await eventually(lambda: not stream.health()["ok"], "red after the limit", seconds=5)
        health = stream.health()
        assert not ready(health)
        assert isinstance(health["dependencies"], dict)
        trouble = health["dependencies"]["ledger"]["trouble"]
        assert "is not open after 0.3 s" in trouble
        assert str(settings.ledger_file) in trouble
        assert "restore a backup" in trouble
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await stream.stop()
