"""The ledger for asyncio: who waits for a batch, and for how long."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pytest

from csqa_loop.evidence.pair_queries import pair_counts
from csqa_loop.ledger.service import LedgerService
from tests import events as make
from tests.ledgers import ledger_at


def pair_count(connection: duckdb.DuckDBPyConnection) -> int:
    return pair_counts(connection)["total"]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[LedgerService]:
    opened = LedgerService(ledger_at(tmp_path / "ledger" / "ledger.duckdb"))
    await opened.wait_for_lock()
    await opened.open()
    yield opened
    await opened.close()


async def test_a_batch_that_came_while_nobody_waited_is_not_waited_for(service: LedgerService) -> None:
    await service.take(make.batch(make.thumb(1)))
    async with asyncio.timeout(10):
        await service.next_batch(0, seconds=60)


async def test_the_next_batch_ends_the_wait(service: LedgerService) -> None:
    await service.take(make.batch(make.thumb(1)))
    waiting = asyncio.create_task(service.next_batch(service.batches, seconds=60))
    await asyncio.sleep(0)
    assert not waiting.done()
    await service.take(make.batch(make.thumb(2), first_offset=1))
    async with asyncio.timeout(10):
        await waiting


async def test_what_is_put_off_is_derived_in_the_end_whoever_stops_in_between(tmp_path: Path) -> None:
    first = LedgerService(ledger_at(tmp_path / "ledger" / "ledger.duckdb"))
    await first.wait_for_lock()
    await first.open()
    assert not first.pairs_outstanding
    await first.take(make.batch(make.answer(1), make.bad_case(1)), later=True)
    assert first.pairs_outstanding
    assert await first.ask(pair_count) == 0
    await first.close()

    second = LedgerService(ledger_at(tmp_path / "ledger" / "ledger.duckdb"))
    await second.wait_for_lock()
    await second.open()
    assert second.pairs_outstanding
    await second.derive()
    assert not second.pairs_outstanding
    assert await second.ask(pair_count) == 1
    await second.close()


async def test_a_batch_that_is_put_off_while_others_are_derived_is_not_forgotten(service: LedgerService) -> None:
    await service.take(make.batch(make.answer(1), make.bad_case(1)), later=True)
    deriving = asyncio.create_task(service.derive())
    await asyncio.sleep(0)
    await service.take(make.batch(make.answer(2), make.bad_case(2), first_offset=2), later=True)
    await deriving
    await service.derive()
    assert await service.ask(pair_count) == 2


async def test_nobody_waits_for_ever(service: LedgerService) -> None:
    async with asyncio.timeout(10):
        await service.next_batch(service.batches, seconds=0)
    assert not await service.wait_for(make.event_id(1), 0)
