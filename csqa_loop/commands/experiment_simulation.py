"""Scenarios of `csqa experiment simulate`, and their figures with intervals."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from csqa_loop.experiment.offline.plots import Point, draw_power
from csqa_loop.experiment.offline.rules.populations import LIVELY
from csqa_loop.experiment.offline.rules.simulation import RULES, Rate, SimulatedEffect, SimulatedExperiment, contract_for, simulate

_HANDOFF_MARGIN = 0.05


def possible_effects() -> tuple[float, float]:
    """(least, most) effect on satisfaction: what is below or above would be no probability."""
    return -LIVELY.satisfaction, round(1 - LIVELY.satisfaction, 9)


def simulation_report(
    effects: Sequence[float], *, n: int, seed: int, users: int, burn_in: int, alpha: float, tell: Callable[[str, bool], None]
) -> dict[str, Any]:
    """All figures. `tell` gets a line a scenario, and in between, marked as passing, how many experiments are done."""
    contract = contract_for(alpha=alpha, burn_in_users=burn_in, max_users=users, handoff_margin=_HANDOFF_MARGIN)
    scenarios = [*(SimulatedEffect(effect) for effect in effects), SimulatedEffect(max(*effects, 0.1), handoff_effect=_HANDOFF_MARGIN)]
    results: list[dict[str, Any]] = []
    for number, scenario in enumerate(scenarios, start=1):
        tell(f"{number}/{len(scenarios)}: effect {scenario.effect:+g}, handoff {scenario.handoff_effect:+g}, {n} experiments", False)
        said = simulate(LIVELY, scenario, contract, runs=n, seed=seed, tell=lambda done: tell(f"{done} of {n}", True))
        results.append(
            {
                "effect": scenario.effect,
                "handoff_effect": scenario.handoff_effect,
                "rules": {rule: _outcome(said[rule]) for rule in RULES},
            }
        )
    *plain, traded = results
    same = next(result for result in plain if result["effect"] == 0)
    return {
        "n": n,
        "seed": seed,
        "alpha": alpha,
        "users_an_arm": users,
        "burn_in_users": burn_in,
        "false_promotion": {rule: same["rules"][rule]["promoted"] for rule in RULES},
        "harm_shipped": {
            f"effect {result['effect']:+g}": {rule: result["rules"][rule]["promoted"] for rule in RULES}
            for result in plain
            if result["effect"] < 0
        }
        | {f"handoff {_HANDOFF_MARGIN:+g}, its margin": {rule: traded["rules"][rule]["promoted"] for rule in RULES}},
        "power": {
            f"{result['effect']:+g}": {rule: result["rules"][rule]["promoted"] for rule in RULES}
            for result in plain
            if result["effect"] > 0
        },
        "scenarios": results,
    }


def _outcome(said: SimulatedExperiment) -> dict[str, Any]:
    lower, upper = said.median_interval()
    return {
        "promoted": _rate(said.promoted),
        "rolled_back": said.rolled_back and _rate(said.rolled_back),
        "users_until_promoted": {
            "median": _finite(said.users_until(0.5)),
            "lower": _finite(lower),
            "upper": _finite(upper),
            "p90": _finite(said.users_until(0.9)),
        },
    }


def _rate(rate: Rate) -> dict[str, float]:
    lower, upper = rate.interval
    return {"share": rate.share, "lower": round(lower, 5), "upper": round(upper, 5)}


def _finite(value: float) -> float | None:
    """None: fewer than that were ever promoted."""
    return value if math.isfinite(value) else None


def plot_report(report: dict[str, Any], target: Path) -> None:
    """As a PNG.

    Raises:
        PermanentError: matplotlib is missing, or the file cannot be written.
    """
    plain = [result for result in report["scenarios"] if result["handoff_effect"] == 0]
    promoted: dict[str, list[Point]] = {
        rule: [_point(result["effect"], result["rules"][rule]["promoted"]) for result in plain] for rule in RULES
    }
    users: dict[str, list[Point]] = {}
    for rule in RULES:
        waits = [(result["effect"], result["rules"][rule]["users_until_promoted"]) for result in plain]
        users[rule] = [
            (effect, wait["median"], wait["lower"], wait["upper"] or wait["median"]) for effect, wait in waits if wait["median"] is not None
        ]
    draw_power(target, promoted, users, alpha=report["alpha"])


def _point(effect: float, rate: Mapping[str, float]) -> Point:
    return effect, rate["share"], rate["lower"], rate["upper"]
