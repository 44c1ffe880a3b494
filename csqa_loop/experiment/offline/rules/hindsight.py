"""An experiment judged afterwards from a table of its users: the verdict as it fell, had somebody looked after each of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from csqa_loop.events import ExperimentContract
from csqa_loop.experiment.offline.rules.fixed_horizon import FixedHorizon, welch_test
from csqa_loop.experiment.offline.rules.looks import Flags, Looks, first_verdicts
from csqa_loop.experiment.rules.comparison import ArmTotals
from csqa_loop.experiment.rules.statistics import CannotCompute, Floats
from csqa_loop.experiment.rules.verdict import Analysis, analyse


@dataclass(frozen=True)
class ExperimentUsers:
    """One experiment's users in the order in which their windows closed."""

    experiment: str
    closed_at: tuple[str, ...]
    challenger: Flags
    metrics: Mapping[str, tuple[Floats, Floats]]
    """Numerator and denominator a user; denominator 0: nothing to say."""
    excluded: Mapping[str, int]
    """Why rows were left out, and how many."""


@dataclass(frozen=True)
class Hindsight:
    """Where the verdict fell."""

    analysis: Analysis
    users: tuple[int, int]
    """Challenger and control until then."""
    as_of: str | None
    """The close of the last user's window; None without a user."""
    fixed_horizon: FixedHorizon | CannotCompute
    """Over the whole table."""


def hindsight(contract: ExperimentContract, table: ExperimentUsers) -> Hindsight:
    """Look after each user, or after the last of those whose windows closed at the same moment: nobody knows who of them was first.

    The contract's `max_seconds` plays no part: a table does not say when its experiment opened.

    Raises:
        PermanentError: the contract names a metric that it does not define.
        KeyError: the table lacks a metric that the contract judges.
    """
    if not table.closed_at:
        nobody = ArmTotals("challenger", 0, {}), ArmTotals("control", 0, {})
        analysis = analyse(contract, *nobody, (0, 0), 0.0)
        return Hindsight(analysis, (0, 0), None, CannotCompute(contract.primary, f"{contract.primary} has no user with data"))
    challenger = table.challenger[None]
    judged = {contract.primary, *(guardrail.metric for guardrail in contract.guardrails)}
    looks = {name: Looks.after_each(num[None], den[None], challenger) for name, (num, den) in table.metrics.items()}
    entered = np.cumsum(np.stack([challenger, ~challenger]), axis=-1, dtype=float)
    moments = np.array(table.closed_at)
    ends = np.flatnonzero(np.append(moments[1:] != moments[:-1], True))
    look = int(ends[first_verdicts(contract, {name: looks[name].at(ends) for name in judged}, entered[..., ends]).looks[0]])
    users = int(entered[0, 0, look]), int(entered[1, 0, look])
    sums = {name: arms.totals(0, look) for name, arms in looks.items()}
    one = ArmTotals("challenger", users[0], {name: both[0] for name, both in sums.items()})
    other = ArmTotals("control", users[1], {name: both[1] for name, both in sums.items()})
    everybody = looks[contract.primary].totals(0, len(table.closed_at) - 1)
    return Hindsight(
        analyse(contract, one, other, users, 0.0),
        users,
        table.closed_at[look],
        welch_test(contract.primary, *everybody, contract.alpha),
    )
