"""How much processor time does a stack take that has nothing to do?

Two gateways, the loop, the indexer and the trainer as processes of their own, on a broker of their own and a stand-in model server that answers
probes. Once all are ready and the first deployment is known, nothing happens for a while, and the time that each process uses is counted. Broker
and model server are not part of the sum: the broker is told beside it.

On the embedded broker and, where KAFKA_HOME names one, on Apache Kafka. Writes var/bench/idle.json; exit status 1 when the goal is missed.
CSQA_TEST_SECONDS sets how long it idles on each.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil
from _bench import OPERATOR_KEY, Figure, broker, child, figure, free_port, report
from _replica import replica
from _service import until

SECONDS = 120.0
SHARE_PERCENT = 3.0
"""Of one core, for the whole stack."""
_SETTLE_SECONDS = 15.0
"""What starting leaves behind (imports, first publication, caches) is not idling."""
_READY_SECONDS = 180.0
_STACK = (
    ("loop", "loop", "CONSOLE"),
    ("indexer", "indexer", "INDEXER"),
    ("gateway", "gateway", "GATEWAY"),
    ("second gateway", "gateway", "GATEWAY"),
    ("trainer", "trainer", "TRAINER"),
)
"""(name, command, section of its port)."""


@contextmanager
def stack_on(servers: str, model_server: str) -> Iterator[dict[str, psutil.Process]]:
    """Name -> process of everything that is ours, ready."""
    with tempfile.TemporaryDirectory(prefix="csqa-bench-idle-") as folder, ExitStack() as stack:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("CSQA_")}
        settings = {"CSQA_VAR": folder, "CSQA_KAFKA": servers, "CSQA_VLLM": model_server, "CSQA_OPERATOR_KEY": OPERATOR_KEY}
        processes: dict[str, psutil.Process] = {}
        urls: dict[str, str] = {}
        for name, command, section in _STACK:
            port = free_port()
            environment = plain | settings | {"CSQA_SECRET": "0" * 32, f"CSQA_{section}__PORT": str(port)}
            log = Path(folder) / f"{name.replace(' ', '-')}.log"
            process = stack.enter_context(child((sys.executable, "-m", "csqa_loop.cli", command), log, environment))
            processes[name] = psutil.Process(process.pid)
            urls[name] = f"http://127.0.0.1:{port}/ready"
        for name, url in urls.items():
            until(partial(_well, url), name, seconds=_READY_SECONDS, poll=0.5)
        yield processes


def _well(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def used(process: psutil.Process) -> float:
    """CPU seconds so far, with its children."""
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(spent.user + spent.system for spent in times)


def measure(kind: str, seconds: float) -> list[Figure]:
    """The share of one core, in percent, of each process and of all together."""
    os.environ["CSQA_TEST_BROKER"] = kind
    with broker() as (servers, pid), replica() as model, stack_on(servers, model.url) as processes:
        watched = processes | {"broker": psutil.Process(pid)}
        time.sleep(_SETTLE_SECONDS)
        began, before = time.monotonic(), {name: used(process) for name, process in watched.items()}
        time.sleep(seconds)
        passed = time.monotonic() - began
        shares = {name: 100 * (used(process) - before[name]) / passed for name, process in watched.items()}
    told = [figure(f"idle.{kind}.{name.replace(' ', '_')}", share, "% of a core", n=int(passed), seed=0) for name, share in shares.items()]
    whole = sum(share for name, share in shares.items() if name != "broker")
    return [figure(f"idle.{kind}.stack", whole, "% of a core", goal=SHARE_PERCENT, n=int(passed), seed=0), *told]


if __name__ == "__main__":
    length = float(os.environ.get("CSQA_TEST_SECONDS", SECONDS))
    kinds = ("embedded", "kafka") if os.environ.get("KAFKA_HOME") else ("embedded",)
    sys.exit(report("idle", [one for kind in kinds for one in measure(kind, length)]))
