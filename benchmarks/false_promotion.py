"""How often does an experiment promote an adapter that is no better, looked at after every single user?

Simulates experiments under the shipped contracts, with the rules of `csqa_loop.experiment`, and beside them, on the same users,
the habits they replace: peeking at a one-sided t-test, and shipping what is not shown to be worse. Writes var/bench/false_promotion.json;
exit status 1 when a goal is missed.
"""

import os
import sys

from _bench import Figure, figure, report

from csqa_loop.experiment.offline.rules.populations import LIVELY, Population
from csqa_loop.experiment.offline.rules.simulation import (
    RuleName,
    SimulatedEffect,
    SimulatedExperiment,
    contract_for,
    guardrail_misses,
    simulate,
)

ALPHA = 0.05
QUICK = {"burn_in_users": 100, "max_users": 300}
"""The demo's size: a verdict within minutes."""
SHIPPED = {"burn_in_users": 200, "max_users": 20_000}
"""The default settings."""
MIDDLE = {"burn_in_users": 200, "max_users": 2000}
"""For rare events: exact bounds at 80 million looks would take half an hour, and a margin of 0.02 is decided long before."""
POPULATIONS = {"0.55": Population(0.55), "0.9": Population(0.9), "lively": LIVELY}


def outcomes(
    population: Population, size: dict[str, int], scenario: SimulatedEffect, runs: int, seed: int, handoff_margin: float | None = None
) -> dict[RuleName, SimulatedExperiment]:
    return simulate(population, scenario, contract_for(alpha=ALPHA, handoff_margin=handoff_margin, **size), runs=runs, seed=seed)


def measure(runs: int, seed: int) -> list[Figure]:
    """All figures."""
    figures: list[Figure] = []

    def add(name: str, value: float, unit: str, **more) -> None:
        figures.append(figure(name, value, unit, n=runs, seed=seed, **more))
        print(figures[-1], file=sys.stderr, flush=True)

    def against(name: str, unit: str, said: dict[RuleName, SimulatedExperiment], goal: float | None, **more) -> None:
        """The rule's own rate of promotion beside that of peeking."""
        add(
            name, said["confidence_sequence"].promoted.share, unit, goal=goal, baseline=said["peeking_t_test"].promoted.share, **more
        )  # fmt: skip

    for label, size in (("quick", QUICK), ("shipped", SHIPPED)):
        for name, population in POPULATIONS.items():
            same = outcomes(population, size, SimulatedEffect(0.0), runs, seed)
            against(f"false_promotion.{label}.{name}", "share of A/A", same, ALPHA)
            add(f"false_rollback.{label}.{name}", same["confidence_sequence"].rolled_back.share, "share of A/A", goal=ALPHA)
            add(f"false_promotion.{label}.{name}.ship_if_not_worse", same["ship_if_not_worse"].promoted.share, "share of A/A")
        worse = outcomes(POPULATIONS["0.55"], size, SimulatedEffect(-0.05), runs, seed + 1)
        against(f"harm_shipped.{label}.minus_0.05", "share promoted", worse, ALPHA)
        add(f"harm_shipped.{label}.minus_0.05.ship_if_not_worse", worse["ship_if_not_worse"].promoted.share, "share promoted")
    for label, size in (("quick", QUICK), ("2000_users", MIDDLE)):
        for errors in (0.0, 0.01):
            missed = guardrail_misses(contract_for(alpha=ALPHA, **size), (errors + 0.02, errors), margin=0.02, runs=runs, seed=seed + 2)
            add(f"guardrail_missed.{label}.errors_{errors:g}_at_margin_0.02", missed.share, "share", goal=ALPHA)
    traded = outcomes(
        LIVELY, {"burn_in_users": 100, "max_users": 1000}, SimulatedEffect(0.15, handoff_effect=0.05), runs, seed + 5, handoff_margin=0.05
    )
    against("harm_shipped.handoff_at_margin", "share promoted", traded, ALPHA)
    for effect, most, goals in ((0.2, 300, (115, 220)), (0.1, 2000, (None, None))):
        better = outcomes(POPULATIONS["0.55"], QUICK | {"max_users": most}, SimulatedEffect(effect), runs, seed + 3)
        mine, peeked = better["confidence_sequence"], better["peeking_t_test"]
        for word, share, goal in (("median", 0.5, goals[0]), ("p95", 0.95, goals[1])):
            add(f"users_an_arm.plus_{effect}.{word}", mine.users_until(share), "users", goal=goal, baseline=peeked.users_until(share))
    power = outcomes(POPULATIONS["0.55"], QUICK, SimulatedEffect(0.2), runs, seed + 4)
    against("power.quick.plus_0.2", "share promoted", power, 0.95, at_least=True)
    return figures


def main() -> int:
    """Measure, write, judge."""
    return report("false_promotion", measure(runs=int(os.environ.get("CSQA_TEST_RUNS", "2000")), seed=20_261))


if __name__ == "__main__":
    sys.exit(main())
