"""Commands that run processes: each one by itself, or all of them with `csqa up`."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Annotated

import httpx
import typer

from csqa_loop.commands.operators import operators_in_words
from csqa_loop.commands.up_view import UpView
from csqa_loop.errors import CsqaError, TransientError
from csqa_loop.local import up_file
from csqa_loop.local.base_model import prepare
from csqa_loop.local.services import Service, build_services, watched_services
from csqa_loop.local.supervisor import Supervisor
from csqa_loop.local.vllm import vllm_command, vllm_environment, vllm_python
from csqa_loop.settings import Settings, load_settings

model = typer.Typer(no_args_is_help=True, help="The base model on this machine.")
topics = typer.Typer(no_args_is_help=True, help="The topics of the log.")

_DETACH_SECONDS = 300.0
_STOP_SECONDS = 40.0


def register(app: typer.Typer) -> None:
    """Add the process commands to `csqa`."""
    for command in (gateway, indexer, loop, trainer, up, down, status):
        app.command()(command)
    app.add_typer(model, name="model")
    app.add_typer(topics, name="topics")


def gateway() -> None:
    """HTTP for frontends and widgets."""
    settings = load_settings()
    from csqa_loop.bootstrap import build_gateway
    from csqa_loop.gateway.app import serve

    serve(build_gateway(settings))


def indexer() -> None:
    """Policy documents to chunks with vectors."""
    settings = load_settings()
    from streams.indexer import serve

    serve(settings)


def loop() -> None:
    """The ledger, the decisions and the operator API."""
    settings = load_settings()
    from streams.loop import serve

    serve(settings)


def trainer() -> None:
    """Training and evaluation jobs."""
    settings = load_settings()
    from streams.trainer import serve

    serve(settings)


def up(detach: Annotated[bool, typer.Option(help="Return when everything is healthy and leave it running.")] = False) -> None:
    """Start everything on this machine, show which is healthy, restart what dies, stop all on Ctrl-C."""
    settings = load_settings()
    services = build_services(settings)
    if detach:
        _detach(settings)
        return
    asyncio.run(_up(services, settings))


async def _up(services: Sequence[Service], settings: Settings) -> None:
    with UpView(settings) as view:
        supervisor = Supervisor(services, settings.var, view.say, lambda: view.show(supervisor))
        running = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            running.add_signal_handler(number, supervisor.stop)
        await supervisor.run()


def _detach(settings: Settings) -> None:
    (settings.var / "logs").mkdir(parents=True, exist_ok=True)
    log = settings.var / "logs" / "up.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            (sys.executable, "-m", "csqa_loop.cli", "up"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _DETACH_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise CsqaError(
                lines[-1].removeprefix("csqa: ") if lines else f"`csqa up` ended with status {child.returncode}; it said nothing"
            )
        rows = up_file.read(settings.var)
        if rows and all(row.health == "healthy" for row in rows.values()):
            for row in rows.values():
                print(f"{row.name:8} {row.url}")
            return
        time.sleep(0.2)
    waiting = ", ".join(row.name for row in up_file.read(settings.var).values() if row.health != "healthy")
    raise TransientError(f"not healthy after {_DETACH_SECONDS:.0f} s: {waiting}; it goes on trying (see {log}), `csqa down` stops it")


def down() -> None:
    """Stop what `csqa up` started here."""
    settings = load_settings()
    pid = up_file.holder(settings.var)
    if pid is None:
        print(f"nothing runs in {settings.var}")
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while up_file.holder(settings.var) == pid:
        if time.monotonic() > deadline:
            raise TransientError(
                f"`csqa up` (pid {pid}) still runs after {_STOP_SECONDS:.0f} s; look at it, or kill -9 {pid}: its processes end with it"
            )
        time.sleep(0.1)
    print("stopped")


def status(as_json: Annotated[bool, typer.Option("--json", help="A list of {name, pid, url, health}.")] = False) -> None:
    """How each process is, and whether an operator has paused the loop; exit status 1 unless all are healthy."""
    settings = load_settings()
    rows = asyncio.run(current(settings))
    if as_json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(f"{row['name']:8} {row['health']:9} {row['pid'] or '-':>8} {row['url']}")
            if row["health"] in {"starting", "unhealthy"}:
                for line in _missing(str(row["url"])):
                    print(f"         {line}")
        if any(row["name"] == "loop" and row["health"] == "healthy" for row in rows):
            for line in operators_in_words(settings):
                print(line)
    if any(row["health"] != "healthy" for row in rows):
        raise typer.Exit(1)


async def current(settings: Settings) -> list[dict[str, object]]:
    """Name, pid (None where it is not ours), url and health (healthy, starting, unhealthy, stopped) of each process, asked now."""
    services = watched_services(settings)
    supervised = up_file.read(settings.var)
    answers = await asyncio.gather(*(service.probe() for service in services))
    rows: list[dict[str, object]] = []
    for service, well in zip(services, answers, strict=True):
        row = supervised.get(service.name)
        if well:
            health = "healthy"
        elif row is not None and row.pid is not None:
            # Healthy when the supervisor last looked: it has just stopped to answer.
            health = "starting" if row.health == "starting" else "unhealthy"
        else:
            health = "unhealthy" if _named_elsewhere(settings, service.name) else "stopped"
        rows.append({"name": service.name, "pid": row.pid if row else None, "url": service.url, "health": health})
    return rows


def _missing(url: str) -> list[str]:
    """What a process says that it lacks; nothing where it does not answer, or is none of ours."""
    try:
        state = httpx.get(f"{url}/ready", timeout=2, trust_env=False).json()
        troubles = [f"{name}: {seen['trouble']}" for name, seen in state["dependencies"].items() if not seen["ok"]]
        lost = [f"lost: {loss['topic']}[{loss['partition']}] {loss['from']} to {loss['to']}" for loss in state.get("losses", ())]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError):
        return []
    return troubles + lost


def _named_elsewhere(settings: Settings, name: str) -> bool:
    return bool({"broker": settings.kafka.servers, "vllm": settings.model_server.urls}.get(name))


@model.command("prepare")
def model_prepare() -> None:
    """Convert the packaged base model, once; prints what to load."""
    print(prepare(load_settings()))


@model.command("serve")
def model_serve() -> None:
    """Become one vLLM replica with the base model, on the embedded port."""
    settings = load_settings()
    python = vllm_python(settings)
    prepare(settings)
    settings.adapters.mkdir(parents=True, exist_ok=True)
    command = vllm_command(settings, python)
    sys.stdout.flush()
    os.execve(command[0], list(command), vllm_environment(settings, os.environ))


@topics.command("create")
def topics_create() -> None:
    """Create the topics that are missing and check those that exist."""
    asyncio.run(_create_topics(load_settings()))


async def _create_topics(settings: Settings) -> None:
    from csqa_loop.bootstrap import build_bus

    bus = build_bus(settings)
    await bus.start()
    try:
        await bus.ensure_topics()
    finally:
        await bus.stop()
