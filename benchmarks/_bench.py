"""What benchmarks share: a broker of their own, the loop's real process, and figures that are judged."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import psutil
from aiokafka import AIOKafkaProducer

from csqa_loop.errors import TransientError
from csqa_loop.http.bearer import bearer
from csqa_loop.local.broker import broker_command
from csqa_loop.log.admin import ensure_topics
from csqa_loop.settings import KafkaSettings

OPERATOR_KEY = "benchmark"
_READY_SECONDS = 60.0


@dataclass(frozen=True)
class Figure:
    """One number. `goal` None: told, not judged."""

    name: str
    value: float
    unit: str
    goal: float | None
    ok: bool
    baseline: float | None
    n: int
    seed: int


def figure(
    name: str,
    value: float,
    unit: str,
    *,
    n: int,
    seed: int,
    goal: float | None = None,
    at_least: bool = False,
    baseline: float | None = None,
) -> Figure:
    """Judged: at most `goal`, or `at_least` that."""
    ok = goal is None or (value >= goal if at_least else value <= goal)
    return Figure(name, round(value, 4), unit, goal, ok, None if baseline is None else round(baseline, 4), n, seed)


def report(name: str, figures: Sequence[Figure]) -> int:
    """Write var/bench/NAME.json and standard output; the exit status."""
    text = json.dumps([asdict(one) for one in figures], indent=1)
    target = Path("var/bench") / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text + "\n")
    print(text)
    return 0 if all(one.ok for one in figures) else 1


@contextmanager
def broker() -> Iterator[tuple[str, int]]:
    """(host:port, process id) of a broker with an empty log: the embedded one, or Apache Kafka from KAFKA_HOME where CSQA_TEST_BROKER=kafka."""
    with tempfile.TemporaryDirectory(prefix="csqa-bench-broker-") as folder:
        port = free_port()
        kafka = os.environ.get("CSQA_TEST_BROKER") == "kafka"
        command = (str(Path(os.environ["KAFKA_HOME"]) / "start"), folder, str(port)) if kafka else broker_command(port)
        with child(command, Path(folder) / "broker.log", os.environ) as process:
            _until_listening(port)
            yield f"127.0.0.1:{port}", process.pid


@contextmanager
def loop(servers: str, settings: Mapping[str, str]) -> Iterator[tuple[str, psutil.Process]]:
    """(console URL, process) of `csqa loop` with an empty `var`; `settings` are CSQA_ variables."""
    with tempfile.TemporaryDirectory(prefix="csqa-bench-loop-") as folder:
        port = free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CSQA_")} | {
            "CSQA_VAR": folder, "CSQA_KAFKA": servers, "CSQA_CONSOLE__PORT": str(port), "CSQA_OPERATOR_KEY": OPERATOR_KEY, "CSQA_SECRET": "0" * 32,
            **settings,
        }  # fmt: skip
        with child((sys.executable, "-m", "csqa_loop.cli", "loop"), Path(folder) / "loop.log", environment) as process:
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)


def console(url: str) -> httpx.Client:
    """A client of the loop's operator API."""
    return httpx.Client(base_url=url, headers=bearer(OPERATOR_KEY), timeout=30)


async def create_topics(servers: str) -> None:
    """As production creates them, once the broker answers."""
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            await ensure_topics(servers, KafkaSettings())
        except TransientError:
            if time.monotonic() > deadline:
                raise
        else:
            return


async def producer(servers: str) -> AIOKafkaProducer:
    """A started producer that waits for every acknowledgement."""
    made = AIOKafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=2, max_batch_size=256 * 1024)
    await made.start()
    return made


@contextmanager
def child(
    command: Sequence[str], log: Path, environment: Mapping[str, str], *, stop_seconds: float = 20.0
) -> Iterator[subprocess.Popen[bytes]]:
    """A process while the block runs. It gets `stop_seconds` to end by itself and is killed then; a block that fails prints the end of `log`."""
    signal.signal(signal.SIGTERM, _leave)  # a benchmark that is stopped takes its processes along
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True)
    try:
        yield process
    except BaseException:  # also an interrupt: what the process said last is gone with its folder
        print(f"--- the end of {log.name}:\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
        raise
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=stop_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _leave(number: int, _: object) -> None:
    sys.exit(128 + number)


def _until_listening(port: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def free_port() -> int:
    """The one after it is free too: Apache Kafka takes two."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
