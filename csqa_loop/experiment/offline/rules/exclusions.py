"""Who is left out of an experiment's table, and whether that could have picked the users who are left. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Arm = Literal["challenger", "control"]
ARMS: tuple[Arm, ...] = ("challenger", "control")
LEVEL = 0.001
"""All tests of one table together pass by chance at most this often."""
MOST = 0.05
"""Of an arm's rows. Users who were left out by what they said need no difference in numbers: unhappy ones here, happy ones there."""


@dataclass(frozen=True)
class Exclusion:
    """Rows of one arm that are left out for one reason."""

    arm: Arm | None
    """None: the row does not say."""
    reason: str
    rows: int
    first: str
    """Where the first of them is, and what stands there."""
    counts: bool = True
    """False: a row of another arm, or a row that is left out of one metric alone, which decides nothing."""


def doubt_about(excluded: Sequence[Exclusion], kept: Mapping[Arm, int], silent: Mapping[Arm, int], metric: str) -> str | None:
    """Why the arms may no longer be compared for a promotion; None where nothing speaks against it.

    The table is complete, so each test is done once: Fisher's exact one, at `LEVEL` for all of them together.

    Args:
        excluded: Rows left out.
        kept: Users of each arm who are used.
        silent: Those of them whose cells of the primary metric are empty.
        metric: The primary metric.
    """
    counted = [one for one in excluded if one.counts]
    rows = {arm: kept[arm] + sum(one.rows for one in counted if one.arm == arm) for arm in ARMS}
    for arm in ARMS:
        if rows[arm] - kept[arm] > MOST * rows[arm]:
            return f"{_share(arm, rows[arm] - kept[arm], rows[arm])} are left out, {_reasons(counted, arm)}; at most {MOST:.0%} would do"
    nowhere, everything = sum(one.rows for one in counted if one.arm is None), sum(rows.values())
    if nowhere > MOST * (everything + nowhere):
        return f"{nowhere} of {everything + nowhere} rows name no arm; at most {MOST:.0%} would do"
    tests = list(_tests(counted, rows, kept, silent, metric))
    for what, (one, other), (of_one, of_other) in tests:
        p_value = _fisher((one, of_one), (other, of_other))
        if p_value <= LEVEL / len(tests):
            parts = f"{_share('challenger', one, of_one)} against {_share('control', other, of_other)}"
            return f"{parts} {what} (Fisher's exact p = {p_value:.2g}; {LEVEL:g} over {len(tests)} tests)"
    return None


def _tests(
    counted: Sequence[Exclusion], rows: Mapping[Arm, int], kept: Mapping[Arm, int], silent: Mapping[Arm, int], metric: str
) -> Iterator[tuple[str, tuple[int, int], tuple[int, int]]]:
    """(in words, numbers of both arms, of how many)."""
    whole = rows["challenger"], rows["control"]
    reasons = sorted({one.reason for one in counted if one.arm})
    if len(reasons) > 1:
        yield "are left out", (rows["challenger"] - kept["challenger"], rows["control"] - kept["control"]), whole
    for reason in reasons:
        one, other = (sum(e.rows for e in counted if (e.arm, e.reason) == (arm, reason)) for arm in ARMS)
        yield f"are left out: {reason}", (one, other), whole
    if any(silent.values()):
        yield f"have no value of {metric}", (silent["challenger"], silent["control"]), (kept["challenger"], kept["control"])


def _fisher(one: tuple[int, int], other: tuple[int, int]) -> float:
    from scipy.stats import fisher_exact

    (count, of), (count2, of2) = one, other
    return float(fisher_exact([[count, of - count], [count2, of2 - count2]]).pvalue)


def _share(arm: str, count: int, of: int) -> str:
    return f"{count} of {of} {arm} rows ({count / of if of else 0:.1%})"


def _reasons(excluded: Iterable[Exclusion], arm: str) -> str:
    """With the most frequent one first."""
    own = sorted((one for one in excluded if one.arm == arm), key=lambda one: -one.rows)
    return ", ".join(f"{one.rows} for {one.reason}" for one in own)
