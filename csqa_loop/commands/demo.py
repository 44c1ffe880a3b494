"""`csqa demo`: the whole loop, played with simulated customers."""

import asyncio
import os
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import httpx
import typer

from csqa_loop.demo.customers import Customers, CustomerTally
from csqa_loop.demo.play import Bounds, Mode, Play
from csqa_loop.demo.remote import Services
from csqa_loop.demo.scenario import Scenario
from csqa_loop.demo.scenario_files import load_scenario, packaged, policy_folder
from csqa_loop.demo.stage import demo_environment, prepare_folder, publish_policies, refuse_used_log, services_up
from csqa_loop.demo.summary import Counts, Summary
from csqa_loop.demo.view import DemoView
from csqa_loop.errors import ConfigurationError
from csqa_loop.files.durable import write_atomically
from csqa_loop.settings import Settings, load_settings

_READY_SECONDS = 600.0
_INDEX_SECONDS = 180.0
_STEADY_POLLS = 4


def register(app: typer.Typer) -> None:
    """Add `csqa demo`."""
    app.command()(demo)


def demo(
    scenario: Annotated[Path | None, typer.Option(help="Scenario file (YAML). Default: the packaged harbour-shop.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of customers, corrections, training and experiment.")] = 1,
    seed: Annotated[int, typer.Option(help="Order of the customers and, with --sabotage, what the agents say.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON; progress goes to stderr.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the summary here too (always: VAR/demo/summary.json).")] = None,
    keep: Annotated[bool, typer.Option(help="Leave the services running at the end.")] = False,
    sabotage: Annotated[bool, typer.Option(help="Agents' corrections are wrong on purpose: the champion must not change.")] = False,
    placebo: Annotated[bool, typer.Option(help="Offer an adapter that answers like the champion: the champion must not change.")] = False,
    no_gate: Annotated[bool, typer.Option("--no-gate", help="Skip the offline gate, so that the experiment must stop harm.")] = False,
) -> None:
    """Publish a scenario's policies, play its customers and agents, and watch the running services train, test and promote an adapter.

    Exit code 0 only for the expected outcome: a promotion; with --sabotage or --placebo, none.
    """
    began = time.monotonic()
    if sabotage and placebo:
        raise ConfigurationError("--sabotage and --placebo exclude each other: a placebo learns nothing from wrong corrections")
    if out is not None and not out.parent.is_dir():
        raise ConfigurationError(f"--out {out}: {out.parent} is not a folder; it must exist")
    mode: Mode = "sabotage" if sabotage else "placebo" if placebo else "normal"
    file = scenario or packaged("harbour-shop/scenario.yaml")
    script = load_scenario(file)
    # For this process and for every one it starts: they read the same settings.
    os.environ.update(demo_environment(script, file, placebo=placebo, sabotage=sabotage, gate=not no_gate, present=os.environ))
    settings = load_settings()
    with DemoView(f"csqa demo: {script.name}, {mode}, seed {seed}", sys.stderr if as_json else None) as view:
        try:
            summary = asyncio.run(_demo(settings, script, file, view, rounds=rounds, seed=seed, mode=mode, keep=keep, began=began))
        except (KeyboardInterrupt, asyncio.CancelledError):
            view.say("stopped; nothing runs any more")
            raise typer.Exit(130) from None
        expected = summary.as_expected(mode)
        text = summary.model_dump_json(indent=2) + "\n"
        write_atomically(settings.var / "demo" / "summary.json", text.encode())
        if out is not None:
            write_atomically(out, text.encode())
        view.end(summary, expected=expected)
        if keep:
            view.say(
                f"services keep running: chat at {settings.gateway_url}/v1, operators at {settings.console_url}; stop them with {_down(settings)}"
            )
    if as_json:
        print(text, end="")
    if not expected:
        raise typer.Exit(1)


async def _demo(
    settings: Settings, scenario: Scenario, file: Path, view: DemoView, *, rounds: int, seed: int, mode: Mode, keep: bool, began: float
) -> Summary:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    view.step(0, "set up")
    prepare_folder(settings.var)
    await refuse_used_log(settings)
    from csqa_loop.bootstrap import build_secrets

    async with AsyncExitStack() as stack:

        async def client(url: str) -> httpx.AsyncClient:
            return await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=settings.model_server.timeout_seconds + 30.0))

        up = await stack.enter_async_context(services_up(settings, keep=keep))
        operator_key = build_secrets(settings).operator_key
        gateway, console = await client(settings.gateway_url), await client(settings.console_url)
        replicas = tuple([await client(url) for url in settings.model_server_urls])
        services = Services(console, gateway, replicas, operator_key=operator_key, alive=up.require_alive)
        view.detail("starting the services")
        await services.gateway_ready(seconds=_READY_SECONDS)
        await services.status()
        view.detail("publishing the policies")
        await publish_policies(policy_folder(file, scenario), seconds=_INDEX_SECONDS)
        await _steady_index(services)
        setup_seconds = time.monotonic() - began
        view.result(f"{settings.gateway_url} serves {scenario.name}")

        customers = Customers(gateway, scenario, operator_key=operator_key)
        experiment = settings.experiment
        bounds = Bounds.for_experiment(experiment.max_users, experiment.window_seconds, experiment.grace_seconds)
        play = Play(scenario, customers, services, view, seed, mode, bounds)
        try:
            played = await play.rounds(rounds)
            view.step(0, "wait for the ledger")
            recorded = await play.caught_up()
            status = await services.status()
            view.result(f"{recorded.chats} chats recorded")
        finally:
            accepted = "".join(f"{name}\n" for name in customers.tally.accepted)
            write_atomically(settings.var / "demo" / "accepted.txt", accepted.encode())
        return Summary(
            scenario=scenario.name,
            seed=seed,
            mode=mode,
            rounds=played,
            final_champion=status.deployment.champion,
            resident_adapters=await services.resident_adapters(),
            sent=_counts(customers.tally),
            recorded=recorded,
            seconds=round(time.monotonic() - began - setup_seconds, 1),
            setup_seconds=round(setup_seconds, 1),
        )


async def _steady_index(services: Services) -> None:
    """Chunks are in the log; a gateway reads them within moments, document by document. Ask until its index no longer changes."""
    versions: list[str | None] = []
    while len(versions) < _STEADY_POLLS or len(set(versions[-_STEADY_POLLS:])) > 1:
        versions.append((await services.gateway_ready(seconds=60.0)).get("index_version"))
        await asyncio.sleep(0.5)


def _counts(tally: CustomerTally) -> Counts:
    return Counts(chats=tally.chats, feedback=tally.feedback, bad_cases=tally.bad_cases)


def _down(settings: Settings) -> str:
    return "`csqa down`" if settings.var == Path("var") else f"`CSQA_VAR={settings.var} csqa down`"
