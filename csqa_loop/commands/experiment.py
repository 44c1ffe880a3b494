"""`csqa experiment`: what an experiment says, what it would have said, and how often its rules are wrong."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from csqa_loop.analytics.page_files import check_page, write_page
from csqa_loop.commands.console_client import ask_console, json_of
from csqa_loop.commands.experiment_view import show_experiment, show_hindsight, show_simulation
from csqa_loop.commands.operators import Operator, Reason, Wait, decide
from csqa_loop.errors import PermanentError
from csqa_loop.experiment.offline.contract import contract_for_table
from csqa_loop.experiment.rules.statistics import CannotCompute
from csqa_loop.experiment.status import ExperimentStatus
from csqa_loop.settings import load_settings

if TYPE_CHECKING:
    from csqa_loop.experiment.offline.rules.exclusions import Exclusion
    from csqa_loop.experiment.offline.rules.hindsight import ExperimentUsers, Hindsight

app = typer.Typer(no_args_is_help=True, help="Experiments: results, analyses afterwards, and simulated error rates.")

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


@app.callback()
def group() -> None:
    """Experiments: results, analyses afterwards, and simulated error rates."""


@app.command()
def show(experiment_id: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """One experiment of the running loop: arms, bounds, verdict and what it rests on.

    Example: csqa experiment show x-1234
    """
    told = ask_console(load_settings(), f"/v1/experiments/{quote(experiment_id, safe='')}", ExperimentStatus)
    print(json_of(told) if as_json else show_experiment(told))


@app.command()
def report(
    experiment_id: Annotated[str, typer.Argument(metavar="ID")],
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="Where to write the page.")],
) -> None:
    """Write one page about an experiment of the running loop: verdict, arms, every metric with its bounds as figures, who is left out.

    Example: csqa experiment report x-1234 --out x-1234.html
    """
    from csqa_loop.analytics.experiment_page import experiment_report

    check_page(out)
    told = ask_console(load_settings(), f"/v1/experiments/{quote(experiment_id, safe='')}", ExperimentStatus)
    write_page(out, experiment_report(told))


@app.command()
def stop(
    reason: Reason,
    experiment_id: Annotated[str, typer.Argument(metavar="ID", help="Default: the open one.")] = "",
    operator: Operator = "",
    wait: Wait = 5.0,
    as_json: Json = False,
) -> None:
    """End the open experiment INCONCLUSIVE, whatever it shows; the champion stays.

    Example: csqa experiment stop --reason "the challenger is rude"
    """
    decide("stop", reason, operator, target=experiment_id, wait=wait, as_json=as_json)


@app.command()
def analyse(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Parquet or CSV, a row a user: docs/experiments.md lists the columns.")],
    as_json: Json = False,
    alpha: Annotated[float | None, typer.Option(min=1e-9, max=0.499, help="One-sided level of each bound.")] = None,
    margin: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A guardrail and what it may lose. Repeatable.")] = None,
    primary: Annotated[str | None, typer.Option(metavar="NAME", help="The metric that must get better.")] = None,
    burn_in: Annotated[int | None, typer.Option(min=2, help="Users an arm before anything is promoted.")] = None,
    max_users: Annotated[int | None, typer.Option(min=2, help="Users an arm after which it ends INCONCLUSIVE.")] = None,
    challenger: Annotated[str | None, typer.Option(metavar="NAME", help="How the file calls the challenger's arm.")] = None,
    control: Annotated[str | None, typer.Option(metavar="NAME", help="How the file calls the control arm.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with the metrics, margins and alpha.")] = None,
) -> None:
    """Judge experiments from a table of users as the loop would have: after each user, in the order in which windows closed.

    Example: csqa experiment analyse users.parquet --json --primary satisfaction --margin error=0.02
    """
    from csqa_loop.experiment.offline.rules.hindsight import hindsight
    from csqa_loop.experiment.offline.tables import ArmNames, UserTable

    if config:
        os.environ["CSQA_CONFIG"] = str(config)
    table = UserTable(file, ArmNames(challenger, control))
    contract, notes = contract_for_table(
        load_settings().experiment,
        table,
        primary=primary,
        margins=_margins(margin or []),
        alpha=alpha,
        burn_in=burn_in,
        max_users=max_users,
    )
    known = {metric.name: metric for metric in contract.metrics}
    proportions = [name for name, metric in known.items() if metric.kind == "proportion"]
    judged = {contract.primary, *(guardrail.metric for guardrail in contract.guardrails)}
    results = [_result(users, hindsight(contract, users), notes) for users in table.experiments(tuple(known), proportions, judged)]
    if as_json:
        print("[" + ",\n".join(json_of(result) for result in results) + "]")
    else:
        print(show_hindsight(results))


def _result(users: "ExperimentUsers", seen: "Hindsight", notes: list[str]) -> dict[str, Any]:
    interval, planned = seen.analysis.primary.interval, seen.fixed_horizon
    bounds = {"estimate": None, "lower": None, "upper": None} if isinstance(interval, CannotCompute) else asdict(interval)
    return {
        "experiment": users.experiment,
        "verdict": seen.analysis.verdict,
        "as_of": seen.as_of,
        "users": sum(seen.users),
        **bounds,
        "stopped_by": seen.analysis.stopped_by,
        "arms": {"challenger": seen.users[0], "control": seen.users[1]},
        "of_users": len(users.closed_at),
        "excluded": _by_reason(users),
        "exclusions": [_exclusion(users, one) for one in users.excluded],
        "doubt": seen.doubt,
        "metrics": seen.analysis.estimates,
        "fixed_horizon": {"cannot_compute": planned.reason} if isinstance(planned, CannotCompute) else asdict(planned),
        "notes": notes,
    }


def _by_reason(users: "ExperimentUsers") -> dict[str, int]:
    counted: dict[str, int] = {}
    for one in users.excluded:
        counted[one.reason] = counted.get(one.reason, 0) + one.rows
    return counted


def _exclusion(users: "ExperimentUsers", one: "Exclusion") -> dict[str, Any]:
    """`share`: of all rows of the arm, used or not."""
    share = one.rows / users.rows_of(one.arm) if one.arm else None
    return {"arm": one.arm, "reason": one.reason, "rows": one.rows, "share": share, "first": one.first}


def _margins(given: list[str]) -> dict[str, float]:
    margins: dict[str, float] = {}
    for text in given:
        name, _, value = (part.strip() for part in text.partition("="))
        try:
            margin = float(value)
        except ValueError:
            raise PermanentError(f"--margin {text!r} is not NAME=VALUE, such as error=0.02") from None
        if not 0 < margin < float("inf"):
            raise PermanentError(f"--margin {text!r}: a margin is a number above 0, in the metric's own unit")
        if name in margins:
            raise PermanentError(f"--margin {name} is given twice, as {margins[name]:g} and {margin:g}; give it once")
        margins[name] = margin
    return margins


def _tell(text: str, passing: bool) -> None:
    """Progress; what passes is overwritten, so only a terminal gets it."""
    if not passing:
        print(text, file=sys.stderr, flush=True)
    elif sys.stderr.isatty():
        print(f"  {text}", end="\r", file=sys.stderr, flush=True)


@app.command()
def simulate(
    n: Annotated[int, typer.Option("--n", min=10, help="Experiments a scenario.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal figures.")] = 20_261,
    effect: Annotated[list[float] | None, typer.Option(help="Effects on satisfaction, beside none at all. Repeatable.")] = None,
    users: Annotated[int, typer.Option(min=20, max=100_000, help="Users an arm after which an experiment ends.")] = 1000,
    burn_in: Annotated[int, typer.Option(min=2, help="Users an arm before anything is promoted.")] = 100,
    alpha: Annotated[float, typer.Option(min=1e-6, max=0.499, help="One-sided level of each bound.")] = 0.05,
    as_json: Json = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Power and time to verdict against the effect.")] = None,
) -> None:
    """Simulate experiments with heavy users, seasons and drift, looked at after every user; compare with the habits they replace.

    Example: csqa experiment simulate --n 2000 --effect 0.05 --effect 0.1 --plot power.png
    """
    from csqa_loop.commands.experiment_simulation import plot_report, possible_effects, simulation_report

    if burn_in > users:
        raise PermanentError(f"--burn-in {burn_in} is more than --users {users}; nothing could be promoted")
    least, most = possible_effects()
    for asked in effect or ():
        if not least <= asked <= most:
            raise PermanentError(
                f"--effect {asked:g} is outside {least:g} to {most:g}: satisfaction without an effect is {-least:g}, and a probability"
            )
    effects = sorted({0.0, *(effect or (-0.1, -0.05, 0.05, 0.1, 0.2))})
    report = simulation_report(effects, n=n, seed=seed, users=users, burn_in=burn_in, alpha=alpha, tell=_tell)
    if plot:
        plot_report(report, plot)
        print(f"{plot} written", file=sys.stderr)
    print(json.dumps(report) if as_json else show_simulation(report))
