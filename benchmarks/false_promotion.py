"""How often does an experiment promote an adapter that is no better, looked at after every single user?

Simulates experiments under the shipped contracts, with the verdicts of `csqa_loop.domain.experiment`, and beside them, on the same users,
the habit they replace: peeking at a one-sided t-test. Writes var/bench/false_promotion.json; exit status 1 when a goal is missed.

Paths are computed with numpy, and at every experiment's last look, and the look before it, the engine itself must say the same.
"""

import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from csqa_loop.domain.events import ExperimentContract
from csqa_loop.domain.experiment import HARM_FLOOR, ArmTotals, MetricTotals, analyse, horizon
from csqa_loop.domain.statistics import PSEUDO_USERS, tuning

Floats = NDArray[np.float64]
Population = Callable[[np.random.Generator, NDArray[np.bool_], float], tuple[Floats, Floats]]
"""(generator, is challenger, effect) -> num and den of each user, shape (runs, users)."""

ALPHA = 0.05
QUICK = {"burn_in_users": 100, "max_users": 300}
"""The demo's size: a verdict within minutes."""
SHIPPED = {"burn_in_users": 200, "max_users": 20_000}
"""The default settings."""


def contract(burn_in_users: int, max_users: int) -> ExperimentContract:
    """Primary only: a guardrail can only lower the rate of promotion."""
    return ExperimentContract(
        primary="satisfaction", guardrails=(), alpha=ALPHA, window_seconds=1, burn_in_users=burn_in_users, max_users=max_users,
        max_seconds=1e9, ramp=(1.0,), ramp_users=1,
    )  # fmt: skip


def one_rating(base: float) -> Population:
    """Each user rates once, up with probability `base` (+ effect)."""

    def draw(rng, challenger, effect):
        up = rng.random(challenger.shape) < np.clip(base + effect * challenger, 0, 1)
        return up.astype(float), np.ones(challenger.shape)

    return draw


def heavy_users(base: float) -> Population:
    """Users rate 1 to about 30 times, each user has an own taste, and satisfaction swings by 0.15 through the experiment."""

    def draw(rng, challenger, effect):
        season = 0.15 * np.sin(np.linspace(0, 6 * np.pi, challenger.shape[1]))
        mean = np.clip(base + season + effect * challenger, 0.01, 0.99)
        taste = rng.beta(4 * mean, 4 * (1 - mean))
        ratings = np.minimum(rng.geometric(0.25, challenger.shape), 40)
        return rng.binomial(ratings, taste).astype(float), ratings.astype(float)

    return draw


@dataclass(frozen=True)
class Outcomes:
    """What became of the experiments; users an arm where they were promoted."""

    runs: int
    promoted: float
    rolled_back: float
    users: Floats
    peeked: float
    """Share that peeking at a t-test would have promoted."""
    peeked_users: Floats

    def quantile(self, q: float) -> float:
        """Users an arm by which a share q of ALL experiments was promoted; infinite where fewer were."""
        padded = np.concatenate([self.users, np.full(self.runs - len(self.users), np.inf)])
        return float(np.quantile(padded, q, method="inverted_cdf"))

    def peeked_quantile(self, q: float) -> float:
        """The same for the t-test."""
        padded = np.concatenate([self.peeked_users, np.full(self.runs - len(self.peeked_users), np.inf)])
        return float(np.quantile(padded, q, method="inverted_cdf"))


def simulate(population: Population, size: dict[str, int], effect: float, runs: int, seed: int) -> Outcomes:
    """Run experiments to their verdicts, looking after every user."""
    terms = contract(**size)
    rng = np.random.default_rng(seed)
    length = math.ceil(2 * terms.max_users + 8 * math.sqrt(terms.max_users))
    chunk = max(1, 1_000_000 // length)
    promoted: list[float] = []
    peeked: list[float] = []
    rolled_back = 0
    for start in range(0, runs, chunk):
        shape = (min(chunk, runs - start), length)
        challenger = rng.random(shape) < 0.5
        num, den = population(rng, challenger, effect)
        paths = _Paths(num, den, challenger)
        rolled_back += _verdicts(paths, terms, promoted)
        _peek(paths, terms, peeked)
    return Outcomes(runs, len(promoted) / runs, rolled_back / runs, np.array(promoted), len(peeked) / runs, np.array(peeked))


class _Paths:
    """Running sums of both arms, shape (2, runs, users): index 0 is the challenger."""

    def __init__(self, num: Floats, den: Floats, challenger: NDArray[np.bool_]) -> None:
        arms = np.stack([challenger, ~challenger]).astype(float)
        self.users = np.cumsum(arms, axis=2)
        self.num, self.den = np.cumsum(arms * num, axis=2), np.cumsum(arms * den, axis=2)
        self.num2, self.den2 = np.cumsum(arms * num * num, axis=2), np.cumsum(arms * den * den, axis=2)
        self.cross = np.cumsum(arms * num * den, axis=2)
        rate = num / den
        self.rate, self.rate2 = np.cumsum(arms * rate, axis=2), np.cumsum(arms * rate * rate, axis=2)

    def totals(self, run: int, look: int) -> tuple[ArmTotals, ArmTotals]:
        """The engine's input at one look."""
        sides = []
        for arm, name in enumerate(("challenger", "control")):
            at = (arm, run, look)
            users = int(self.users[at])
            sums = MetricTotals(users, *(float(a[at]) for a in (self.num, self.den, self.num2, self.den2, self.cross)))
            sides.append(ArmTotals(name, users, {"satisfaction": sums}))
        return sides[0], sides[1]


def _bounds(paths: _Paths, terms: ExperimentContract) -> tuple[Floats, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = paths.den / paths.users
        ends = PSEUDO_USERS / 2
        users, num, den = paths.users + 2 * ends, paths.num + ends * mean, paths.den + 2 * ends * mean
        centre = num / den
        squares = paths.num2 + ends * mean**2 - 2 * centre * (paths.cross + ends * mean**2)
        squares += centre**2 * (paths.den2 + 2 * ends * mean**2)
        error = squares / (users - 1) / (den / users) ** 2 / paths.users
        estimate = paths.num / paths.den
        difference = estimate[0] - estimate[1]
        t = paths.users.sum(axis=0)
        scaled = t * tuning(terms.alpha, horizon(terms)) ** 2
        half = np.sqrt(error.sum(axis=0) * 2 * (scaled + 1) / scaled * np.log1p(np.sqrt(scaled + 1) / (2 * terms.alpha)))
    return difference - half, difference + half


def _verdicts(paths: _Paths, terms: ExperimentContract, promoted: list[float]) -> int:
    lower, upper = _bounds(paths, terms)
    fewest = paths.users.min(axis=0)
    over = fewest >= terms.max_users
    # The look at which max_users is reached still counts; nothing after it does.
    open_ = np.concatenate([np.ones((over.shape[0], 1), bool), ~over[:, :-1]], axis=1)
    wins = open_ & (fewest >= terms.burn_in_users) & (lower > 0)
    harms = open_ & (fewest >= min(terms.burn_in_users, HARM_FLOOR)) & (upper < 0)
    rolled_back = 0
    for run in range(lower.shape[0]):
        stops = {name: int(np.argmax(hits[run])) for name, hits in (("PROMOTE", wins), ("ROLL_BACK", harms)) if hits[run].any()}
        verdict = min(stops, key=stops.__getitem__) if stops else "INCONCLUSIVE"
        last = stops.get(verdict, int(np.argmax(over[run])))
        _agree(paths, terms, run, last, verdict)
        if verdict == "PROMOTE":
            promoted.append(float(paths.users[:, run, last].mean()))
        rolled_back += verdict == "ROLL_BACK"
    return rolled_back


def _agree(paths: _Paths, terms: ExperimentContract, run: int, last: int, verdict: str) -> None:
    """The engine says the same at the last look, and CONTINUE just before."""
    for look, expected in ((last - 1, "CONTINUE"), (last, verdict)):
        one, other = paths.totals(run, look)
        said = analyse(terms, one, other, (one.users, other.users), 0.0)
        # A split that chance made too uneven is INVALID, not a wrong verdict (at most 1 in 1000).
        if said.verdict not in {expected, "INVALID"}:
            message = f"run {run}, look {look}: simulated {expected}, engine {said.verdict} ({said.stopped_by})"
            raise AssertionError(message)


def _peek(paths: _Paths, terms: ExperimentContract, peeked: list[float]) -> None:
    users = paths.users
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = paths.rate / users
        variance = (paths.rate2 / users - mean**2) / (users - 1)
        statistic = (mean[0] - mean[1]) / np.sqrt(variance.sum(axis=0))
    critical = stats.t.ppf(1 - terms.alpha, np.arange(1, users.shape[2] + 1))
    fewest = users.min(axis=0)
    hits = (fewest >= terms.burn_in_users) & (fewest <= terms.max_users) & (statistic > critical)
    peeked.extend(float(users[:, run, int(np.argmax(hits[run]))].mean()) for run in range(hits.shape[0]) if hits[run].any())


def margin_breach(control: float, challenger: float, margin: float, size: dict[str, int], runs: int, seed: int) -> float:
    """Share of experiments in which a rare-event guardrail ever seems to hold although the challenger is worse by the whole margin."""
    terms = contract(**size)
    rng = np.random.default_rng(seed)
    shape = (1_000_000 // (2 * terms.max_users), 2 * terms.max_users)
    missed = done = 0
    while done < runs:
        is_challenger = rng.random(shape) < 0.5
        events = (rng.random(shape) < np.where(is_challenger, challenger, control)).astype(float)
        paths = _Paths(events, np.ones(shape), is_challenger)
        _, upper = _bounds(paths, terms)
        seen = (paths.users.min(axis=0) >= terms.burn_in_users) & (upper < margin)
        missed += int(seen.any(axis=1)[: runs - done].sum())
        done += min(shape[0], runs - done)
    return missed / runs


def measure(runs: int, seed: int) -> list[dict[str, object]]:
    """All figures."""
    figures: list[dict[str, object]] = []

    def add(name: str, value: float, unit: str, goal: float | None, baseline: float | None, *, at_least: bool = False) -> None:
        ok = goal is None or (value >= goal if at_least else value <= goal)
        finite = [None if number is None or not math.isfinite(number) else round(number, 4) for number in (value, baseline)]
        figures.append(
            {"name": name, "value": finite[0], "unit": unit, "goal": goal, "ok": ok, "baseline": finite[1], "n": runs, "seed": seed}
        )
        print(f"{name:<58} {value:>9.4g} {unit:<16} goal {goal}  t-test {baseline}  {'ok' if ok else 'MISSED'}", flush=True)

    populations = {"0.55": one_rating(0.55), "0.9": one_rating(0.9), "heavy_users": heavy_users(0.55)}
    for label, size in (("quick", QUICK), ("shipped", SHIPPED)):
        for name, population in populations.items():
            same = simulate(population, size, 0.0, runs, seed)
            add(f"false_promotion.{label}.{name}", same.promoted, "share of A/A", ALPHA, same.peeked)
            add(f"false_rollback.{label}.{name}", same.rolled_back, "share of A/A", ALPHA, None)
        worse = simulate(populations["0.55"], size, -0.05, runs, seed + 1)
        add(f"harm_shipped.{label}.minus_0.05", worse.promoted, "share promoted", ALPHA, worse.peeked)
        add(f"guardrail_missed.{label}.error_at_margin_0.02", margin_breach(0.0, 0.02, 0.02, size, runs, seed + 2), "share", ALPHA, None)
    for effect, most, goals in ((0.2, 300, (115, 220)), (0.1, 2000, (None, None))):
        better = simulate(populations["0.55"], QUICK | {"max_users": most}, effect, runs, seed + 3)
        add(f"users_an_arm.plus_{effect}.median", better.quantile(0.5), "users", goals[0], better.peeked_quantile(0.5))
        add(f"users_an_arm.plus_{effect}.p95", better.quantile(0.95), "users", goals[1], better.peeked_quantile(0.95))
    power = simulate(populations["0.55"], QUICK, 0.2, runs, seed + 4)
    add("power.quick.plus_0.2", power.promoted, "share promoted", 0.95, power.peeked, at_least=True)
    return figures


def main() -> int:
    """Measure, write, judge."""
    figures = measure(runs=int(os.environ.get("CSQA_TEST_RUNS", "2000")), seed=20_261)
    target = Path("var/bench/false_promotion.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if all(figure["ok"] for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
