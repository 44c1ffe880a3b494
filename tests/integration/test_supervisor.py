"""The supervisor with small real processes: what it starts, restarts, stops, and never leaves behind."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from csqa_loop.errors import ConfigurationError
from csqa_loop.local import up_file
from csqa_loop.local.probes import http_probe
from csqa_loop.local.services import Service
from csqa_loop.local.supervisor import Supervisor

# Answers /health, and has a child in a session of its own, as model servers and training jobs do.
SERVER = """
import http.server, os, signal, subprocess, sys
port, folder, manner = int(sys.argv[1]), sys.argv[2], sys.argv[3]
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
with open(f"{folder}/pids", "a") as handle:
    handle.write(f"{os.getpid()} {child.pid} {os.getppid()}\\n")
if manner == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{}")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer.allow_reuse_address = True
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server(name: str, folder: Path, port: int, *, manner: str = "polite", **more: object) -> Service:
    (folder / name).mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port}"
    return Service(
        name=name,
        url=url,
        probe=http_probe(f"{url}/health"),
        command=(sys.executable, "-c", SERVER, str(port), str(folder / name), manner),
        address=("127.0.0.1", port),
        port_setting=f"CSQA_{name.upper()}__PORT",
        stop_seconds=1.0,
        **more,
    )


def pids(folder: Path, name: str) -> list[int]:
    """Every process a test server started or was, its leashes included."""
    file = folder / name / "pids"
    return [int(pid) for line in file.read_text().splitlines() for pid in line.split()] if file.exists() else []


async def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Watched:
    """A supervisor under test, its lines, and the moments at which something changed."""

    def __init__(self, services: list[Service], var: Path) -> None:
        self.lines: list[str] = []
        self.history: list[tuple[str, str]] = []
        self.supervisor = Supervisor(services, var, self.lines.append, self._note)

    def _note(self) -> None:
        for one in self.supervisor.supervised.values():
            if (one.service.name, one.health) not in self.history[-len(self.supervisor.supervised) :]:
                self.history.append((one.service.name, one.health))

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Watched"]:
        task = asyncio.create_task(self.supervisor.run())
        try:
            yield self
        finally:
            self.supervisor.stop()
            await asyncio.wait_for(task, 25)

    async def healthy(self) -> None:
        await until(lambda: self.supervisor.all_healthy)


async def test_starts_in_order_and_leaves_nothing(tmp_path: Path) -> None:
    services = [
        server("broker", tmp_path, free_port(), stop_last=1),
        server("loop", tmp_path, free_port(), needs=("broker",)),
        server("gateway", tmp_path, free_port(), needs=("broker",)),
    ]
    async with Watched(services, tmp_path).running() as watched:
        await watched.healthy()
        rows = up_file.read(tmp_path)
        assert {name: row.health for name, row in rows.items()} == dict.fromkeys(("broker", "loop", "gateway"), "healthy")
        assert rows["loop"].pid == pids(tmp_path, "loop")[0]
        assert rows["loop"].url == services[1].url
        everything = [pid for service in services for pid in pids(tmp_path, service.name)]
        assert len(everything) == 9
        assert all(alive(pid) for pid in everything)
    assert watched.history.index(("broker", "healthy")) < watched.history.index(("loop", "starting"))
    assert not [pid for pid in everything if alive(pid)]
    assert not (tmp_path / "up.json").exists()
    assert up_file.holder(tmp_path) is None


async def test_restarts_what_dies_with_all_it_had_started(tmp_path: Path) -> None:
    services = [server("loop", tmp_path, free_port())]
    async with Watched(services, tmp_path).running() as watched:
        await watched.healthy()
        first, its_child, leash = pids(tmp_path, "loop")
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(pids(tmp_path, "loop")) == 6)
        await watched.healthy()
        row = up_file.read(tmp_path)["loop"]
        assert row.pid == pids(tmp_path, "loop")[3]
        assert row.restarts == 1
        assert not [pid for pid in (first, its_child, leash) if alive(pid)]
        assert any("loop ended with SIGKILL" in line for line in watched.lines)


async def test_says_why_a_process_does_not_come_up_and_goes_on_trying(tmp_path: Path) -> None:
    broken = Service(
        "vllm", "http://127.0.0.1:9", http_probe("http://127.0.0.1:9"), command=(sys.executable, "-c", "raise SystemExit('no model there')")
    )
    async with Watched([broken], tmp_path).running() as watched:
        await until(lambda: len(watched.lines) >= 2)
    assert "vllm ended with status 1" in watched.lines[0]
    assert "no model there" in watched.lines[0]
    assert "restart 2 in 1 s" in watched.lines[1]


async def test_kills_what_does_not_stop(tmp_path: Path) -> None:
    services = [server("trainer", tmp_path, free_port(), manner="stubborn")]
    async with Watched(services, tmp_path).running() as watched:
        await watched.healthy()
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert not [pid for pid in pids(tmp_path, "trainer") if alive(pid)]


async def test_a_taken_port_is_named_and_nothing_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        watched = Watched([server("loop", tmp_path, free_port()), server("gateway", tmp_path, port)], tmp_path)
        with pytest.raises(ConfigurationError, match=rf"port {port} for the gateway is taken by .*pid {os.getpid()}.*CSQA_GATEWAY__PORT"):
            await watched.supervisor.run()
    assert pids(tmp_path, "loop") == []
    assert up_file.holder(tmp_path) is None


async def test_two_services_on_one_port_are_refused(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(ConfigurationError, match=f"loop and gateway are both set to port {port}"):
        await Watched([server("loop", tmp_path, port), server("gateway", tmp_path, port)], tmp_path).supervisor.run()


async def test_a_second_supervisor_is_refused(tmp_path: Path) -> None:
    async with Watched([server("loop", tmp_path, free_port())], tmp_path).running() as first:
        await first.healthy()
        with pytest.raises(ConfigurationError, match=rf"already run by `csqa up` \(pid {os.getpid()}\).*csqa down.*CSQA_VAR"):
            await Watched([], tmp_path).supervisor.run()
        assert up_file.read(tmp_path)["loop"].health == "healthy"


async def test_what_runs_elsewhere_is_watched_and_left_alone(tmp_path: Path) -> None:
    port = free_port()
    theirs = subprocess.Popen([sys.executable, "-c", SERVER, str(port), str(tmp_path), "polite"])
    try:
        url = f"http://127.0.0.1:{port}"
        async with Watched([Service("vllm", url, http_probe(url))], tmp_path).running() as watched:
            await watched.healthy()
            assert up_file.read(tmp_path)["vllm"].pid is None
        assert theirs.poll() is None
    finally:
        mine = psutil.Process(theirs.pid).children()
        theirs.kill()
        theirs.wait(5)
        for child in mine:
            child.kill()


SUPERVISING = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_supervisor import Supervisor, server
    folder = Path({folder!r})
    asyncio.run(Supervisor([server("loop", folder, {first}), server("trainer", folder, {second}, manner="stubborn")], folder, print).run())
""")


@pytest.fixture
def supervising(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    script = SUPERVISING.format(tests=str(Path(__file__).parent), folder=str(tmp_path), first=free_port(), second=free_port())
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    yield process
    process.kill()
    process.wait(5)


async def test_kill_9_of_the_supervisor_leaves_no_orphan(tmp_path: Path, supervising: subprocess.Popen[bytes]) -> None:
    await until(lambda: [row.health for row in up_file.read(tmp_path).values()] == ["healthy", "healthy"])
    everything = pids(tmp_path, "loop") + pids(tmp_path, "trainer")
    supervising.kill()
    supervising.wait(5)
    await until(lambda: not [pid for pid in everything if alive(pid)], seconds=10)
    assert json.loads((tmp_path / "up.json").read_text())["processes"]
    assert up_file.read(tmp_path) == {}  # the file is there, but nobody holds the lock: nothing runs

    services = [server("loop", tmp_path, free_port())]
    async with Watched(services, tmp_path).running() as watched:  # and the next one starts
        await watched.healthy()


async def test_the_next_supervisor_ends_what_even_the_leash_could_not(tmp_path: Path, supervising: subprocess.Popen[bytes]) -> None:
    await until(lambda: [row.health for row in up_file.read(tmp_path).values()] == ["healthy", "healthy"])
    _, grandchild, leash = pids(tmp_path, "loop")
    os.kill(supervising.pid, signal.SIGSTOP)  # so that it cannot tidy up between the two kills
    os.kill(leash, signal.SIGKILL)
    supervising.kill()
    supervising.wait(5)
    assert alive(grandchild), "in a session of its own, and everybody who knew of it is dead"

    async with Watched([server("loop", tmp_path, free_port())], tmp_path).running() as watched:
        await until(lambda: watched.supervisor.all_healthy, seconds=30)
        assert not alive(grandchild)


async def test_kill_9_of_a_leash_takes_its_process_along(tmp_path: Path) -> None:
    async with Watched([server("loop", tmp_path, free_port())], tmp_path).running() as watched:
        await watched.healthy()
        first, its_child, leash = pids(tmp_path, "loop")
        os.kill(leash, signal.SIGKILL)
        await until(lambda: len(pids(tmp_path, "loop")) == 6)
        await watched.healthy()
        assert not [pid for pid in (first, its_child, leash) if alive(pid)]
