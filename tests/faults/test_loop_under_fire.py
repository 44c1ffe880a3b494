"""The real process of the loop under traffic: killed, cut off from its broker, with a damaged write-ahead log. Nothing is lost, nothing doubled."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from csqa_loop.settings import Settings
from tests import brokers
from tests.brokers import Broker, free_port
from tests.faults.conftest import FULL, Report
from tests.faults.killed_at import POINTS
from tests.faults.proxy import Proxy
from tests.faults.traffic import Traffic
from tests.loop_process import LoopProcess
from tests.loops import quick_settings, replayed

BOTH = pytest.mark.parametrize("which", ["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
pytestmark = pytest.mark.timeout(1500)
_COMPARISONS = 5


def broker_of(which: str, request: pytest.FixtureRequest) -> Broker:
    """Of the test's own, empty."""
    broker: Broker = request.getfixturevalue({"embedded": "mortal_broker", "kafka": "mortal_kafka"}[which])
    return broker


def settings_on(servers: str, folder: Path) -> Settings:
    return quick_settings(folder, servers).model_copy(update={"secret": None})


async def recovered(loop: LoopProcess, report: Report, traffic: Traffic) -> None:
    """Wait until all that was accepted so far is in the ledger; how long it took is on record."""
    began = time.monotonic()
    accepted = list(traffic.accepted)

    def whole(told: dict) -> bool:
        return all(
            finding["holds"] for finding in told["findings"] if finding["invariant"] in {"I1", "I2", "I3", "whole log", "one ledger"}
        )

    await loop.until(whole, "everything accepted is in the ledger", "POST", "/v1/ledger/check", {"accepted": accepted})
    report.recovered.append(round(time.monotonic() - began, 1))


async def checked(loop: LoopProcess, settings: Settings, report: Report, traffic: Traffic, scratch: Path) -> None:
    """I1 to I4, and I6: a clean replay of the log gives the running ledger's hash."""
    accepted = traffic.accepted
    told = await loop.until(lambda s: s["caught_up"], "caught up")
    assert told["recorded"]["chats"] > 0
    told = await loop.until(
        lambda s: s["findings"][0]["holds"], "everything accepted is in the ledger", "POST", "/v1/ledger/check", {"accepted": accepted}
    )
    report.count(told["findings"])
    for number in range(_COMPARISONS):
        before = await loop.until(lambda s: "hash" in s, "a hash", path="/v1/ledger/hash")
        again = {"var": scratch / str(number), "secret": "0" * 32, "operator_key": "k"}
        clean = await replayed(Settings.model_validate(settings.model_dump() | again))
        after = await loop.until(lambda s: "hash" in s, "a hash", path="/v1/ledger/hash")
        if clean == after["hash"]:
            return
        # The loop goes on deciding, and what was sent last may still be on its way: only a ledger that rests can be compared.
        assert before["hash"] != after["hash"], f"I6: a clean replay has another hash ({clean}, seed {report.seed}): {before} {after}"
    pytest.fail(f"the ledger did not come to rest (seed {report.seed})")


@asynccontextmanager
async def started(loop: LoopProcess, program: tuple[str, ...] | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    async with loop.running(program) if program else loop.running() as process:
        yield process


async def died(process: asyncio.subprocess.Process, loop: LoopProcess, seconds: float = 90.0) -> None:
    """Wait for the kill; orders meanwhile give the loop something to publish, also when it has nothing to decide."""
    order = {"operator": "ada", "reason": "a test"}
    async with asyncio.timeout(seconds):
        for name in itertools.cycle(("pause", "resume")):
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await process.wait()
            if process.returncode is not None:
                break
            await loop.ask("POST", f"/v1/operator/{name}", order)
    assert process.returncode == -9


@pytest.mark.fault(1, "the loop is killed at random moments")
@BOTH
async def test_kills_at_random_moments(which: str, request: pytest.FixtureRequest, tmp_path: Path, report: Report) -> None:
    settings, rng = settings_on(broker_of(which, request).servers, tmp_path), report.random
    loop = LoopProcess(settings, tmp_path / "loop.log")
    async with Traffic(settings, rng) as traffic:
        for _ in range(25 if FULL else 2):
            async with started(loop) as process:
                if rng.random() < 0.7:
                    await loop.until(lambda s: s["recorded"]["chats"] > 0, "records are taken")
                await asyncio.sleep(rng.uniform(0.0, 2.0))  # the moment of a crash is no event
                process.kill()
                await process.wait()
            report.runs += 1
        async with started(loop):
            await recovered(loop, report, traffic)
            await traffic.__aexit__()
            await checked(loop, settings, report, traffic, tmp_path / "replay")


@pytest.mark.fault(2, "the loop is killed at a named point")
@BOTH
async def test_kills_at_named_points(which: str, request: pytest.FixtureRequest, tmp_path: Path, report: Report) -> None:
    settings, rng = settings_on(broker_of(which, request).servers, tmp_path), report.random
    loop = LoopProcess(settings, tmp_path / "loop.log")
    async with Traffic(settings, rng) as traffic:
        for point in POINTS if FULL else list(POINTS)[:1]:
            for _ in range(4 if FULL else 1):
                async with started(loop, ("-m", "tests.faults.killed_at", point, str(rng.randint(2, 6)))) as process:
                    await died(process, loop)
                report.runs += 1
                async with started(loop) as process:
                    await recovered(loop, report, traffic)
                    process.terminate()
                    await process.wait()
        async with started(loop):
            await recovered(loop, report, traffic)
            await traffic.__aexit__()
            await checked(loop, settings, report, traffic, tmp_path / "replay")


def cut(wal: Path, at: int) -> None:
    with wal.open("r+b") as file:
        file.truncate(at)


@pytest.mark.fault(3, "the write-ahead log is torn, cut, gone; the ledger is gone")
async def test_a_damaged_write_ahead_log(mortal_broker: Broker, tmp_path: Path, report: Report) -> None:
    settings, rng = settings_on(mortal_broker.servers, tmp_path), report.random
    loop = LoopProcess(settings, tmp_path / "loop.log")
    file = settings.ledger_file
    wal = file.with_name(file.name + ".wal")
    damages: list[Callable[[], None]] = [
        lambda: cut(wal, rng.randrange(wal.stat().st_size)),
        lambda: cut(wal, wal.stat().st_size - 1),
        wal.unlink,
        lambda: [each.unlink() for each in (file, wal)] and None,  # type: ignore[func-returns-value]
    ]
    async with Traffic(settings, rng) as traffic:
        for damage in damages if FULL else [rng.choice(damages)]:
            async with started(loop) as process:
                begun = (await loop.until(lambda s: s["recorded"]["chats"] > 0, "records are taken"))["recorded"]["chats"]
                await loop.until(lambda s, begun=begun: s["recorded"]["chats"] >= begun + 40, "the write-ahead log holds some")
                process.kill()
                await process.wait()
            assert wal.exists()
            damage()
            report.runs += 1
            async with started(loop) as process:
                await recovered(loop, report, traffic)
                process.kill()
                await process.wait()
        async with started(loop):
            await traffic.__aexit__()
            await checked(loop, settings, report, traffic, tmp_path / "replay")


@pytest.mark.fault(4, "the connection to the broker delays, drops, resets")
async def test_a_bad_connection(tmp_path: Path, report: Report) -> None:
    port = free_port()
    # All that the loop does goes through the proxy.
    behind = brokers.embedded(known_as=f"127.0.0.1:{port}")
    rng = report.random
    proxy = Proxy(behind.servers, rng)
    await proxy.listen(port)
    await asyncio.to_thread(behind.start)
    settings = settings_on(f"127.0.0.1:{port}", tmp_path)
    loop = LoopProcess(settings, tmp_path / "loop.log")

    async def slow() -> None:
        proxy.delay = 0.3
        await asyncio.sleep(rng.uniform(1, 4))
        proxy.delay = 0.0

    async def silent() -> None:
        proxy.dropping = True
        await asyncio.sleep(rng.uniform(1, 8))
        proxy.dropping = False
        proxy.reset()  # what was dropped leaves the streams out of step

    async def resets() -> None:
        for _ in range(5):
            proxy.reset()
            await asyncio.sleep(rng.uniform(0, 0.5))

    faults: list[Callable[[], Awaitable[None]]] = [slow, silent, resets]
    try:
        async with started(loop), Traffic(settings, rng) as traffic:
            await loop.until(lambda s: s["recorded"]["chats"] > 0, "records are taken")
            for fault in faults * (4 if FULL else 1):
                await fault()
                report.runs += 1
                await recovered(loop, report, traffic)
            await traffic.__aexit__()
            await checked(loop, settings, report, traffic, tmp_path / "replay")
    finally:
        await proxy.stop()
        behind.kill()


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.mark.fault(15, "a soak with random kills: memory, log and lag stay bounded")
async def test_a_soak(mortal_broker: Broker, tmp_path: Path, report: Report) -> None:
    settings, rng = settings_on(mortal_broker.servers, tmp_path), report.random
    loop = LoopProcess(settings, tmp_path / "loop.log")
    wal = settings.ledger_file.with_name(settings.ledger_file.name + ".wal")
    ends = time.monotonic() + (600 if FULL else 5)
    memory: list[float] = []
    async with Traffic(settings, rng) as traffic:
        while time.monotonic() < ends:
            async with started(loop) as process:
                await recovered(loop, report, traffic)
                memory.append(resident_mib(process.pid))
                until = time.monotonic() + rng.uniform(5, 60)
                while time.monotonic() < min(until, ends):
                    memory.append(resident_mib(process.pid))
                    assert wal.stat().st_size < 200_000_000, f"seed {report.seed}"
                    await asyncio.sleep(1.0)  # what is looked at changes by itself
                process.kill()
                await process.wait()
            report.runs += 1
        async with started(loop):
            await recovered(loop, report, traffic)
            await traffic.__aexit__()
            await checked(loop, settings, report, traffic, tmp_path / "replay")
    assert max(memory) < 1500, f"seed {report.seed}: {max(memory):.0f} MiB"
