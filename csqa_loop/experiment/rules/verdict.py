"""What the arms of an experiment say. Pure: sums over closed users in, a closed verdict with its reason out.

The method is docs/statistics.md; the rules are the contract that `ExperimentOpened` carries.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from csqa_loop.events import ArmEstimate, ExperimentContract, Verdict
from csqa_loop.experiment.rules.comparison import (
    ArmTotals,
    Comparison,
    compare,
    definitions,
    estimates_of,
    horizon,
    quantile_estimates,
    users_of,
)
from csqa_loop.experiment.rules.statistics import SPLIT_DOUBT, CannotCompute, SampleRatio, sample_ratio, tuning


@dataclass(frozen=True)
class Analysis:
    """One look."""

    verdict: Verdict
    stopped_by: str
    """Which metric and which bound stopped it; at CONTINUE, what is still missing."""
    estimates: tuple[ArmEstimate, ...]
    sample_ratio: SampleRatio
    primary: Comparison
    guardrails: tuple[Comparison, ...]

    @property
    def missing(self) -> tuple[CannotCompute, ...]:
        """Metrics of the contract without a number, with the reason."""
        return tuple(c.interval for c in (self.primary, *self.guardrails) if isinstance(c.interval, CannotCompute))


def analyse(
    contract: ExperimentContract,
    challenger: ArmTotals,
    control: ArmTotals,
    exposed: tuple[int, int],
    elapsed_seconds: float,
    *,
    share_is_final: bool = True,
    doubt: str | None = None,
) -> Analysis:
    """Judge an experiment by its contract. Looking costs nothing: call it after every user if you like.

    Args:
        contract: What was promised when the experiment opened.
        challenger: Closed users of the challenger.
        control: Closed users of the control.
        exposed: Distinct users exposed so far (challenger, control), closed or not: what the sample-ratio test reads.
        elapsed_seconds: Since the experiment opened.
        share_is_final: The ramp is at its last share. Before, harm may stop the experiment and nothing may promote: latency and errors
            at the full share are part of the promise.
        doubt: What else speaks against a promotion, in words: users who were left out, say. Harm may stop the experiment all the same.

    Raises:
        PermanentError: the contract names a metric that it does not define.
    """
    rho = tuning(contract.alpha, horizon(contract))
    primary = compare(contract, contract.primary, 0.0, challenger, control, rho)
    guardrails = tuple(compare(contract, g.metric, g.margin, challenger, control, rho) for g in contract.guardrails)
    named = {contract.primary, *(g.metric for g in contract.guardrails)}
    known = definitions(contract)
    reported = [
        compare(contract, name, 0.0, challenger, control, rho)
        for name in known
        if name not in named and (name in challenger.metrics or name in control.metrics)
    ]
    quantiles = [row for name in known for row in quantile_estimates(name, challenger, control)]
    ratio_test = sample_ratio(*exposed)
    missing = [doubt] if doubt else []
    missing += _missing(contract, primary, guardrails, ratio_test, share_is_final=share_is_final)
    closed = min(challenger.users, control.users)
    verdict, stopped_by = _judge(contract, primary, guardrails, ratio_test, closed, elapsed_seconds, missing)
    if doubt and doubt not in stopped_by:
        stopped_by += f"; nothing could have been promoted: {doubt}"
    estimates = tuple(row for c in (primary, *guardrails, *reported) for row in estimates_of(c, contract.alpha, rho))
    return Analysis(verdict, stopped_by, (*estimates, *quantiles), ratio_test, primary, guardrails)


def _judge(
    contract: ExperimentContract,
    primary: Comparison,
    guardrails: tuple[Comparison, ...],
    ratio_test: SampleRatio,
    closed: int,
    elapsed_seconds: float,
    missing: list[str],
) -> tuple[Verdict, str]:
    if ratio_test.mismatch:
        return "INVALID", f"sample ratio: {ratio_test.counts} (always-valid p = {ratio_test.p_value:.2g})"
    for comparison in (primary, *guardrails):
        if comparison.harmed:
            return "ROLL_BACK", "harm: " + comparison.bound("upper" if comparison.metric.higher_is_better else "lower")
    if not missing:
        return "PROMOTE", f"better: {primary.bound('lower')}; every guardrail within its margin"
    if closed >= contract.max_users:
        return "INCONCLUSIVE", f"{contract.max_users} users an arm are closed (max_users); still missing: {missing[0]}"
    if elapsed_seconds >= contract.max_seconds:
        return "INCONCLUSIVE", f"{contract.max_seconds:g} s have passed (max_seconds); still missing: {missing[0]}"
    return "CONTINUE", f"not stopped; still missing: {missing[0]}"


def _missing(
    contract: ExperimentContract,
    primary: Comparison,
    guardrails: tuple[Comparison, ...],
    ratio_test: SampleRatio,
    *,
    share_is_final: bool,
) -> Iterator[str]:
    """What keeps the challenger from promotion, most telling first."""
    if ratio_test.in_doubt:
        # Every bound rests on the split: what they say is not believed before it is.
        yield f"a split that is not in doubt: {ratio_test.counts} (e-value {math.exp(ratio_test.log_e_value):.3g}, at most {SPLIT_DOUBT:g} would do)"
    for comparison in (primary, *guardrails):
        if isinstance(comparison.interval, CannotCompute):
            yield comparison.interval.reason
    burnt_in = min(users_of(primary.challenger), users_of(primary.control))
    if burnt_in < contract.burn_in_users:
        yield f"burn-in: {burnt_in} of {contract.burn_in_users} users an arm with {primary.metric.name}"
    for comparison in (primary, *guardrails):
        if not isinstance(comparison.interval, CannotCompute) and not comparison.holds:
            if comparison.enough_users:
                yield comparison.bound("lower" if comparison.metric.higher_is_better else "upper")
            else:
                yield f"users with {comparison.metric.name}"
    if not share_is_final:
        yield "the ramp has not reached its last share"
