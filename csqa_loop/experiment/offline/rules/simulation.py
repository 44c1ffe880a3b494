"""What would the rules do? Many experiments at once, looked at after every user, beside the habits that they replace."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from csqa_loop.events import ExperimentContract, GuardrailContract
from csqa_loop.experiment.offline.rules.looks import Flags, Looks, first_verdicts, metric_gains
from csqa_loop.experiment.offline.rules.populations import Population
from csqa_loop.experiment.rules.statistics import Floats
from csqa_loop.settings.metrics import SHIPPED

RuleName = Literal["confidence_sequence", "peeking_t_test", "ship_if_not_worse"]
RULES: tuple[RuleName, ...] = ("confidence_sequence", "peeking_t_test", "ship_if_not_worse")
_CELLS = 400_000
"""Users in memory at once: what fits a processor's cache is counted faster."""


@dataclass(frozen=True)
class Rate:
    """How often something happened, with its 95 % Clopper-Pearson interval."""

    count: int
    runs: int

    @property
    def share(self) -> float:
        """Of all experiments."""
        return self.count / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        """(lower, upper)."""
        from scipy.stats import binomtest

        found = binomtest(self.count, self.runs).proportion_ci(0.95, method="exact")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class SimulatedExperiment:
    """What one rule did with all experiments of one effect."""

    promoted: Rate
    rolled_back: Rate | None
    """None: the rule knows no roll-back."""
    users: Floats
    """Users an arm at each promotion, ascending."""

    def users_until(self, share: float) -> float:
        """Users an arm by which this share of ALL experiments was promoted; infinite where fewer were."""
        place = math.ceil(share * self.promoted.runs) - 1
        return float(self.users[place]) if place < len(self.users) else math.inf

    def median_interval(self) -> tuple[float, float]:
        """95 % bounds of the median, from order statistics."""
        from scipy.stats import binom

        low = int(binom.ppf(0.025, self.promoted.runs, 0.5))
        return self._at(low), self._at(self.promoted.runs - low)

    def _at(self, place: int) -> float:
        return float(self.users[place]) if place < len(self.users) else math.inf


@dataclass(frozen=True)
class SimulatedEffect:
    """One effect on one population."""

    effect: float
    """On the probability of a thumbs-up; 0 is an A/A experiment."""
    handoff_effect: float = 0.0


def contract_for(*, alpha: float, burn_in_users: int, max_users: int, handoff_margin: float | None = None) -> ExperimentContract:
    """Satisfaction decides; without a margin there is no guardrail, which can only raise the rate of promotion."""
    guardrails = () if handoff_margin is None else (GuardrailContract(metric="handoff", margin=handoff_margin),)
    return ExperimentContract(
        primary="satisfaction", guardrails=guardrails, alpha=alpha, window_seconds=1, burn_in_users=burn_in_users, max_users=max_users,
        max_seconds=1e9, ramp=(1.0,), ramp_users=1,
    )  # fmt: skip


def simulate(
    population: Population,
    scenario: SimulatedEffect,
    contract: ExperimentContract,
    *,
    runs: int,
    seed: int,
    tell: Callable[[int], None] | None = None,
) -> dict[RuleName, SimulatedExperiment]:
    """Run experiments to their ends under every rule, on the same users.

    Args:
        population: Who comes.
        scenario: What the challenger changes.
        contract: The rules, and the budget of users for all.
        runs: Experiments.
        seed: Equal seeds give equal results.
        tell: Told how many are done.
    """
    rng = np.random.default_rng(seed)
    # Chance lets one arm fill up late: enough users for the slower arm, save about once in 10^15.
    length = math.ceil(2 * contract.max_users + 8 * math.sqrt(contract.max_users))
    chunk = max(1, _CELLS // length)
    shipped: dict[RuleName, list[Floats]] = {rule: [] for rule in RULES}
    refused: dict[RuleName, int] = {}
    for start in range(0, runs, chunk):
        shape = (min(chunk, runs - start), length)
        challenger = rng.random(shape) < 0.5
        drawn = population.draw(rng, challenger, scenario.effect, scenario.handoff_effect)
        for rule, (users, harmed) in _verdicts(drawn, challenger, contract):
            shipped[rule].append(users)
            if harmed is not None:
                refused[rule] = refused.get(rule, 0) + harmed
        if tell:
            tell(start + shape[0])
    return {
        rule: SimulatedExperiment(
            Rate(sum(map(len, parts)), runs), Rate(refused[rule], runs) if rule in refused else None, np.sort(np.concatenate(parts))
        )
        for rule, parts in shipped.items()
    }


def _verdicts(
    drawn: Mapping[str, tuple[Floats, Floats]], challenger: Flags, contract: ExperimentContract
) -> Iterator[tuple[RuleName, tuple[Floats, int | None]]]:
    """(users an arm at each promotion, number rolled back or None) of every rule."""
    judged = {contract.primary, *(guardrail.metric for guardrail in contract.guardrails)}
    entered = np.cumsum(np.stack([challenger, ~challenger]), axis=-1, dtype=float)
    stops = first_verdicts(contract, {name: Looks.after_each(*drawn[name], challenger) for name in judged}, entered)
    won = np.array([verdict == "PROMOTE" for verdict in stops.verdicts])
    per_arm = entered.mean(axis=0)
    yield "confidence_sequence", (per_arm[won, stops.looks[won]], stops.verdicts.count("ROLL_BACK"))

    statistic = t_statistics(drawn[contract.primary], challenger)
    critical = t_critical(contract.alpha, challenger.shape[-1])
    fewest = entered.min(axis=0)
    allowed = (fewest >= contract.burn_in_users) & (fewest <= contract.max_users)
    peeked = allowed & (statistic > critical)
    found = peeked.any(axis=-1)
    yield "peeking_t_test", (per_arm[found, peeked.argmax(axis=-1)[found]], None)

    rows, ends = np.arange(len(fewest)), (fewest >= contract.max_users).argmax(axis=-1)
    worse = statistic[rows, ends] < -critical[ends]
    yield "ship_if_not_worse", (per_arm[rows, ends][~worse], int(worse.sum()))


def guardrail_misses(contract: ExperimentContract, rates: tuple[float, float], *, margin: float, runs: int, seed: int) -> Rate:
    """How often a guardrail on rare events ever seems to hold, looked at after every user, with (challenger, control) at these rates."""
    rng = np.random.default_rng(seed)
    shape = (max(1, _CELLS // (2 * contract.max_users)), 2 * contract.max_users)
    missed = done = 0
    while done < runs:
        challenger = rng.random(shape) < 0.5
        events = (rng.random(shape) < np.where(challenger, *rates)).astype(float)
        looks = Looks.after_each(events, np.ones(shape), challenger)
        burnt_in = looks.users.min(axis=0) >= contract.burn_in_users
        lower, _ = metric_gains(SHIPPED["error"], looks, contract, margin, burnt_in)
        missed += int((burnt_in & (lower > -margin)).any(axis=1)[: runs - done].sum())
        done += min(shape[0], runs - done)
    return Rate(missed, runs)


def t_statistics(metric: tuple[Floats, Floats], challenger: Flags) -> Floats:
    """Welch's statistic of users' own rates after every user: what an analyst's t-test says."""
    rate, arms = metric[0] / metric[1], np.stack([challenger, ~challenger])
    users = np.cumsum(arms, axis=-1, dtype=float)
    sums, squares = np.cumsum(arms * rate, axis=-1), np.cumsum(arms * rate * rate, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums / users
        error = (squares / users - mean**2) / (users - 1)
        statistic: Floats = (mean[0] - mean[1]) / np.sqrt(error.sum(axis=0))
    return statistic


def t_critical(alpha: float, looks: int) -> Floats:
    """One-sided critical values after 1, 2, ... users of both arms."""
    from scipy.stats import t

    values: Floats = t.ppf(1 - alpha, np.arange(1, looks + 1))
    return values
