"""A loop on a disk that fills up: `python -m tests.faults.disk_full FOLDER` in a namespace of its own, where FOLDER may be mounted."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from csqa_loop.ledger.invariants import ledger_hash
from tests import brokers
from tests import events as make
from tests.adapter_folders import adapter_in
from tests.fakes.model_server import FakeModelServer
from tests.faults.test_poison_records import ask, rolled_back, with_bad_champion
from tests.loops import quick_settings, replayed, running, until, with_bus
from tests.waiting import eventually

MEGABYTES = 120
RESERVE_MIB = 16


def fill(folder: Path) -> Path:
    """Leave not a byte."""
    ballast = folder / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (1 << 20, 4096, 1):
        while True:
            try:
                os.write(descriptor, b"x" * size)
            except OSError:
                break
    os.close(descriptor)
    return ballast


async def scenario(folder: Path, scratch: Path) -> dict[str, object]:
    broker = brokers.embedded()
    await asyncio.to_thread(broker.start)
    settings = quick_settings(folder / "disk", broker.servers)
    settings = settings.model_copy(update={"ledger": settings.ledger.model_copy(update={"reserve_mib": RESERVE_MIB})})
    server, patch, told = FakeModelServer(), pytest.MonkeyPatch(), {}
    chats = [make.answer(n, question="x" * 3000 + str(n)) for n in range(12_000)]
    try:
        await with_bad_champion(settings)
        async with running(settings, server, patch) as stream:
            await until(stream, lambda s: s["deployment"]["champion"] != "base", "the bad champion")
            await with_bus(settings, lambda bus: bus.publish(*chats[:500]))
            await until(stream, lambda s: s["recorded"]["chats"] == 500, "chats on a disk with room")
            ballast = fill(folder)
            await with_bus(settings, lambda bus: bus.publish(*chats[500:1000]))
            await until(stream, lambda s: s["recorded"]["chats"] == 1000, "chats on the reserve")
            told["red on the reserve"] = not stream.health()["ok"] and "make room" in str(stream.health()["trouble"])
            await rolled_back(stream)
            told["order carried out on the reserve"] = True
            await with_bus(settings, lambda bus: bus.publish(*chats[1000:]))
            await eventually(lambda: stream.intake.trouble is not None, "the reserve is used up", 60)
            told["says which folder"] = str(settings.ledger_file.parent) in str(stream.intake.trouble)
            told["alive"] = not stream.crashed
        async with running(settings, server, patch) as stream:  # started on the full disk
            await eventually(lambda: stream.intake.trouble is not None, "waiting on the full disk", 60)
            listed = await ask(stream, "GET", "/v1/audit")
            told["answers questions on the full disk"] = bool(listed["decisions"])
            told["alive again"] = not stream.crashed
            ballast.unlink()
            await until(stream, lambda s: s["recorded"]["chats"] == len(chats), "all chats once there is room")
            await eventually(lambda: bool(stream.health()["ok"]), "green", 60)
            elsewhere = settings.model_copy(update={"var": scratch / "replay", "secret": None})
            (scratch / "replay").mkdir()
            (scratch / "replay" / "secrets.json").write_bytes((settings.var / "secrets.json").read_bytes())
            told["a replay gives the same hash"] = await replayed(elsewhere) == await stream.parts.ledger.ask(ledger_hash)
    finally:
        broker.kill()
    return told


if __name__ == "__main__":
    place, scratch = Path(sys.argv[1]), Path(sys.argv[2])
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(place)], check=True)
    (place / "disk").mkdir()
    assert adapter_in
    print(json.dumps(asyncio.run(scenario(place, scratch))))
