"""What benchmarks of the whole service share: `csqa up` with vLLM in a folder of its own, gateways beside it, and two adapters to switch between.

CSQA_TEST_VLLM=http://host:port names a vLLM that runs already; it must see this machine's files.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
from _bench import OPERATOR_KEY, child, console, free_port

from csqa_loop import events as e
from csqa_loop.bootstrap import build_bus
from csqa_loop.demo.scenario_files import load_scenario, packaged, policy_folder
from csqa_loop.local.base_model import prepare
from csqa_loop.local.vllm import vllm_command, vllm_environment, vllm_python
from csqa_loop.settings import (
    ConsoleSettings,
    GatewaySettings,
    IndexerSettings,
    KafkaSettings,
    ModelServerSettings,
    Settings,
    TrainerSettings,
    TrainingSettings,
)
from csqa_loop.training.adapters import install

SHOP = packaged("harbour-shop/scenario.yaml")
_CSQA = (sys.executable, "-m", "csqa_loop.cli")
_READY_SECONDS = 300.0
"""vLLM on two busy cores takes minutes to come up."""
_STOP_SECONDS = 40.0
"""What `csqa up` gets to stop everything; it needs half of that at most."""
_POLL_SECONDS = 0.1
T = TypeVar("T")


@dataclass(frozen=True)
class Machine:
    """Everything that runs on one machine, healthy. The base is champion."""

    console: httpx.Client
    gateways: tuple[httpx.Client, ...]
    """The first one is that of `csqa up`."""
    adapters: tuple[str, str]
    """Both answer like the base. The gate has refused them, so that nothing happens to them but what operators order."""
    settings: Settings

    def order(self, action: str, *, target: str = "") -> dict[str, Any]:
        """The recorded event, as soon as the loop has acknowledged it."""
        body = {"operator": OPERATOR_KEY, "reason": "a benchmark", "target": target, "override": action == "promote"}
        answer = self.console.post(f"/v1/operator/{action}", json=body)
        if answer.status_code != 200:
            raise RuntimeError(f"the console refused to {action} {target}: {answer.status_code} {answer.text}")
        event: dict[str, Any] = answer.json()
        return event

    @property
    def gateway_urls(self) -> tuple[str, ...]:
        """For clients of their own."""
        return tuple(str(gateway.base_url) for gateway in self.gateways)

    def settled(self, champion: str) -> int:
        """The revision, once orders are carried out, `champion` is the champion and every gateway serves it."""

        def revision() -> int:
            told = self.console.get("/v1/status").json()
            deployed = told["deployment"]
            if told["busy"] or told["operators"]["order"] or deployed["champion"] != champion:
                return 0
            return deployed["revision"] if {deployed["revision"]} == {revision_of(gateway) for gateway in self.gateways} else 0

        return until(revision, f"{champion} as champion at every gateway")


@contextmanager
def machine(*, gateways: int = 1, model_servers: Sequence[str] = (), variables: Mapping[str, str] | None = None) -> Iterator[Machine]:
    """All processes while the block runs; broker, ledger and adapters are the block's own, the converted base model is the one in `var`.

    Args:
        gateways: how many.
        model_servers: URLs of those that run already; none: `csqa up` starts a vLLM.
        variables: more settings, as CSQA_ variables.
    """
    with tempfile.TemporaryDirectory(prefix="csqa-bench-machine-") as folder, ExitStack() as stack:
        settings = _settings(Path(folder) / "var", ",".join(model_servers) or os.environ.get("CSQA_TEST_VLLM", ""))
        adapters = _placebos(settings, prepare(settings))
        stack.enter_context(_telling(settings.var / "logs"))
        environment = _environment(settings) | dict(variables or {})
        stack.enter_context(child((*_CSQA, "up"), Path(folder) / "up.log", environment, stop_seconds=_STOP_SECONDS))
        urls = [settings.gateway_url]
        for number in range(1, gateways):
            port = str(free_port())
            another = environment | {"CSQA_GATEWAY__PORT": port}
            stack.enter_context(child((*_CSQA, "gateway"), Path(folder) / f"gateway-{number}.log", another))
            urls.append(f"http://127.0.0.1:{port}")
        operator = stack.enter_context(console(settings.console_url))
        until(lambda: (_get(operator, "/v1/status") or {}).get("deployment"), "the first deployment", seconds=_READY_SECONDS)
        policies = policy_folder(SHOP, load_scenario(SHOP))
        subprocess.run(
            (*_CSQA, "policies", "sync", str(policies), "--wait", "120"), env=environment, stdout=sys.stderr, timeout=180, check=True
        )
        asyncio.run(_tell_of(settings, adapters))
        until(partial(_judged, operator, adapters), "both adapters in the ledger")
        served = tuple(stack.enter_context(httpx.Client(base_url=url, timeout=10, trust_env=False)) for url in urls)
        for gateway in served:
            until(partial(_get, gateway, "/ready"), f"the gateway at {gateway.base_url}", seconds=_READY_SECONDS)
        yield Machine(operator, served, adapters, settings)


def revision_of(gateway: httpx.Client) -> int:
    """Of the deployment that a gateway serves; 0 for none."""
    return gateway.get("/ready").json()["deployment"] or 0


def until(found: Callable[[], T], what: str, *, seconds: float = 120.0, poll: float = _POLL_SECONDS) -> T:
    """The first thing found that is true.

    Raises:
        TimeoutError: not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not (it := found()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(poll)
    return it


@contextmanager
def vllm() -> Iterator[str]:
    """The URL of the vLLM that CSQA_TEST_VLLM names, or of one that runs while the block does."""
    if named := os.environ.get("CSQA_TEST_VLLM"):
        yield named.rstrip("/")
        return
    python = os.environ.get("CSQA_MODEL_SERVER__PYTHON", "")
    settings = Settings(model_server=ModelServerSettings(embedded_port=free_port(), python=python))
    prepare(settings)
    url = f"http://127.0.0.1:{settings.model_server.embedded_port}"
    command, environment = vllm_command(settings, vllm_python(settings)), vllm_environment(settings, os.environ)
    with (
        tempfile.TemporaryDirectory(prefix="csqa-bench-vllm-") as folder,
        child(command, Path(folder) / "vllm.log", environment, stop_seconds=_STOP_SECONDS) as process,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):

        def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"vLLM ended with exit code {process.returncode}")
            return _get(client, "/v1/models") is not None

        until(answers, "an answer of vLLM", seconds=_READY_SECONDS)
        yield url


def _settings(var: Path, model_servers: str) -> Settings:
    var.mkdir()
    (var / "models").symlink_to(Settings().models.resolve(), target_is_directory=True)
    return Settings(
        var=var,
        kafka=KafkaSettings(embedded_port=free_port()),
        model_server=ModelServerSettings(
            urls=model_servers,
            embedded_port=free_port(),
            python=os.environ.get("CSQA_MODEL_SERVER__PYTHON", ""),
        ),
        gateway=GatewaySettings(port=free_port()),
        console=ConsoleSettings(port=free_port()),
        indexer=IndexerSettings(port=free_port()),
        trainer=TrainerSettings(port=free_port()),
    )


def _environment(settings: Settings) -> dict[str, str]:
    """The same settings for child processes, and nothing of the caller's."""
    ports = {"GATEWAY": settings.gateway, "CONSOLE": settings.console, "INDEXER": settings.indexer, "TRAINER": settings.trainer}
    return {name: value for name, value in os.environ.items() if not name.startswith("CSQA_")} | {
        "CSQA_VAR": str(settings.var), "CSQA_OPERATOR_KEY": OPERATOR_KEY, "CSQA_SECRET": "0" * 32,
        "CSQA_KAFKA__EMBEDDED_PORT": str(settings.kafka.embedded_port),
        "CSQA_MODEL_SERVER__EMBEDDED_PORT": str(settings.model_server.embedded_port),
        "CSQA_MODEL_SERVER__PYTHON": settings.model_server.python, "CSQA_MODEL_SERVER__URLS": ",".join(settings.model_server.urls),
        **{f"CSQA_{name}__PORT": str(listens.port) for name, listens in ports.items()},
    }  # fmt: skip


def _placebos(settings: Settings, base_model: str) -> tuple[str, str]:
    from csqa_loop.training.trl import run

    run.quiet()

    def made(label: str) -> str:
        draft = settings.var / label
        run.placebo(draft, base_model=base_model, parent=None, settings=TrainingSettings(), label=label)
        return install(draft, settings.adapters)

    return made("first"), made("second")


async def _tell_of(settings: Settings, adapters: Sequence[str]) -> None:
    """Publish what trainer and gate say of an adapter: an order is only taken about one that they have seen."""
    bus = build_bus(settings)
    await bus.start()
    try:
        for number, adapter in enumerate(adapters):
            named: Mapping[str, Any] = {"occurred_at": e.now(), "run_id": f"r-benchmark-{number}", "attempt": 1, "adapter": adapter}
            await bus.publish(
                e.AdapterTrained(**named, parent=e.BASE, recipe_hash="none", data_hash="none", pairs=0, seconds=0.0),
                e.AdapterEvaluated(**named, champion=e.BASE, passed=False),
            )
    finally:
        await bus.stop()


def _judged(operator: httpx.Client, adapters: Sequence[str]) -> bool:
    told = _get(operator, "/v1/adapters")
    return told is not None and {row["adapter"] for row in told["adapters"] if row["gate"]} >= set(adapters)


def _get(client: httpx.Client, path: str) -> dict[str, Any] | None:
    """None where there is no answer, or no good one, yet."""
    try:
        answer = client.get(path, timeout=10)
    except httpx.TransportError:
        return None
    told: dict[str, Any] | None = answer.json() if answer.status_code == 200 else None
    return told


@contextmanager
def _telling(logs: Path) -> Iterator[None]:
    """Of a block that fails, the end of every service's log: they go with their folder."""
    try:
        yield
    except BaseException:  # also an interrupt: it is told and goes on
        for log in sorted(logs.glob("*.log")):
            print(f"--- the end of {log.name}:\n{log.read_text(errors='replace')[-1500:]}", file=sys.stderr)
        raise
