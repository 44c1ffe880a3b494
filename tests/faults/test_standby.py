"""Two loops on one folder: when the active one is killed, the other takes the ledger and the whole log, within 30 s."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.faults.conftest import FULL, Report
from tests.faults.test_loop_under_fire import BOTH, broker_of, checked, recovered, settings_on, started
from tests.faults.traffic import Traffic
from tests.loop_process import LoopProcess

pytestmark = [pytest.mark.timeout(900), pytest.mark.fault(19, "the active loop is killed, a standby on its folder takes over")]


@BOTH
async def test_a_standby_takes_over(which: str, request: pytest.FixtureRequest, tmp_path: Path, report: Report) -> None:
    settings, rng = settings_on(broker_of(which, request).servers, tmp_path), report.random
    active, standby = (LoopProcess(settings, tmp_path / f"{name}.log") for name in ("one", "other"))
    async with Traffic(settings, rng) as traffic, AsyncExitStack() as processes:
        process = await processes.enter_async_context(started(active))
        await active.until(lambda s: s["caught_up"], "the first is active")
        for _ in range(5 if FULL else 1):
            waiting = await processes.enter_async_context(started(standby))
            await standby.until(lambda s: s["phase"] == "standby", "the other waits", path="/health")
            await asyncio.sleep(rng.uniform(0.0, 2.0))  # the moment of a crash is no event
            process.kill()
            await process.wait()
            began = time.monotonic()
            await standby.until(lambda s: s["caught_up"], "the standby holds the whole log")
            report.recovered.append(round(time.monotonic() - began, 1))
            report.runs += 1
            await recovered(standby, report, traffic)
            active, standby, process = standby, active, waiting
        await traffic.__aexit__()
        await checked(active, settings, report, traffic, tmp_path / "replay")
