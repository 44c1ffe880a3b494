"""An experiment judged afterwards from a table of its users: the verdict as it fell, had somebody looked after each of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from csqa_loop.errors import PermanentError
from csqa_loop.events import ExperimentContract
from csqa_loop.experiment.offline.rules.exclusions import Arm, Exclusion, doubt_about
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
    silent: Mapping[str, Flags]
    """Whose cells of a metric are empty."""
    excluded: tuple[Exclusion, ...]
    """Rows that were left out."""

    def by_arm(self, users: Flags) -> dict[Arm, int]:
        """How many of these users each arm has."""
        return {"challenger": int((users & self.challenger).sum()), "control": int((users & ~self.challenger).sum())}

    def rows_of(self, arm: Arm) -> int:
        """Rows of an arm, used or left out."""
        return self.by_arm(np.ones_like(self.challenger))[arm] + sum(one.rows for one in self.excluded if one.counts and one.arm == arm)


@dataclass(frozen=True)
class Hindsight:
    """Where the verdict fell."""

    analysis: Analysis
    users: tuple[int, int]
    """Challenger and control until then."""
    as_of: str
    """The close of the last user's window."""
    fixed_horizon: FixedHorizon | CannotCompute
    """Over the whole table."""
    doubt: str | None
    """Why nothing could have been promoted, whatever the bounds say: who was left out."""


def hindsight(contract: ExperimentContract, table: ExperimentUsers) -> Hindsight:
    """Look after each user, or after the last of those whose windows closed at the same moment: nobody knows who of them was first.

    The contract's `max_seconds` plays no part: a table does not say when its experiment opened. Who was left out is looked at once, over
    the whole table: where that may have picked the users, harm may stop the experiment and nothing may promote.

    Raises:
        PermanentError: an arm has no user with the primary metric, or the contract names a metric that it does not define.
        KeyError: the table lacks a metric that the contract judges.
    """
    kept = table.by_arm(np.ones_like(table.challenger))
    with_data = table.by_arm(table.metrics[contract.primary][1] > 0)
    if lacking := [arm for arm, users in with_data.items() if not users]:
        left_out = "; ".join(f"left out: {one.rows} rows, {one.reason}, first {one.first}" for one in table.excluded)
        raise PermanentError(
            f"experiment {table.experiment!r} has no usable {' and no usable '.join(lacking)} user with {contract.primary}, so there is "
            f"nothing to compare ({left_out or 'no row was left out'}); give it users of both arms with {contract.primary}_den above 0"
        )
    doubt = doubt_about(table.excluded, kept, table.by_arm(table.silent[contract.primary]), contract.primary)
    challenger = table.challenger[None]
    judged = {contract.primary, *(guardrail.metric for guardrail in contract.guardrails)}
    looks = {name: Looks.after_each(num[None], den[None], challenger) for name, (num, den) in table.metrics.items()}
    entered = np.cumsum(np.stack([challenger, ~challenger]), axis=-1, dtype=float)
    moments = np.array(table.closed_at)
    ends = np.flatnonzero(np.append(moments[1:] != moments[:-1], True))
    look = int(
        ends[
            first_verdicts(contract, {name: looks[name].at(ends) for name in judged}, entered[..., ends], may_promote=doubt is None).looks[
                0
            ]
        ]
    )
    users = int(entered[0, 0, look]), int(entered[1, 0, look])
    sums = {name: arms.totals(0, look) for name, arms in looks.items()}
    one = ArmTotals("challenger", users[0], {name: both[0] for name, both in sums.items()})
    other = ArmTotals("control", users[1], {name: both[1] for name, both in sums.items()})
    everybody = looks[contract.primary].totals(0, len(table.closed_at) - 1)
    return Hindsight(
        analyse(contract, one, other, users, 0.0, doubt=doubt),
        users,
        table.closed_at[look],
        welch_test(contract.primary, *everybody, contract.alpha),
        doubt,
    )
