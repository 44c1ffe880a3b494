"""Experiments as text."""

from collections.abc import Mapping, Sequence
from typing import Any

from csqa_loop.events import ArmEstimate
from csqa_loop.experiment.status import ExperimentStatus

_RULES = {"confidence_sequence": "confidence sequence", "peeking_t_test": "peeking at a t-test", "ship_if_not_worse": "ship if not worse"}


def show_experiment(told: ExperimentStatus) -> str:
    """What the console says of one experiment."""
    users, exposed = told.n, told.exposed
    lines = [
        f"{told.id}: {told.verdict}",
        f"  {told.champion} against {told.challenger}, share {told.share:g}, alpha {told.alpha:.4g}",
        f"  {told.stopped_by or 'not looked at yet'}",
        f"  closed users: {users.challenger} challenger, {users.control} control; exposed: {exposed.challenger} and {exposed.control}",
    ]
    if both := told.excluded.seen_in_both_arms:
        lines.append(f"  left out: {both} users who saw both arms")
    if (late := told.late) and (late.challenger or late.control):
        lines.append(f"  late: {late.challenger} challenger and {late.control} control users got an answer after their window; no errors")
    return "\n".join([*lines, *_estimates(told.estimates)])


def _estimates(rows: Sequence[ArmEstimate]) -> list[str]:
    return [
        f"  {row.metric:<16} {row.arm:<11} {row.users:>8} users  {_number(row.estimate)}  [{_number(row.lower)}, {_number(row.upper)}]"
        for row in rows
    ]


def show_hindsight(results: Sequence[Mapping[str, Any]]) -> str:
    """What `analyse` found."""
    lines: list[str] = []
    for result in results:
        lines.append(
            f"{result['experiment']}: {result['verdict']} after {result['users']} of {result['of_users']} users, as of {result['as_of']}"
        )
        lines.append(f"  {result['stopped_by']}")
        lines.extend(_estimates(result["metrics"]))
        planned = result["fixed_horizon"]
        if "p_value" in planned:
            lines.append(f"  {planned['test']} over all users: p = {planned['p_value']:.3g} ({planned['caution']})")
        if result["doubt"]:
            lines.append(f"  nothing may be promoted: {result['doubt']}")
        lines.extend(_left_out(one) for one in result["exclusions"])
    notes = dict.fromkeys(note for result in results for note in result["notes"])
    return "\n".join([*lines, *notes])


def _left_out(one: Mapping[str, Any]) -> str:
    share = "" if one["share"] is None else f" ({one['share']:.1%})"
    return f"  left out: {one['rows']} {one['arm'] or 'armless'} rows{share}, {one['reason']}; first {one['first']}"


def show_simulation(report: Mapping[str, Any]) -> str:
    """What `simulate` measured."""
    lines = [
        f"{report['n']} experiments a line, at most {report['users_an_arm']} users an arm, alpha {report['alpha']:g}, seed {report['seed']}; 95 % intervals",
        f"{'effect':>7} {'handoff':>8}  {'rule':<20} {'promoted':>24} {'rolled back':>24}  users until promoted",
    ]
    for result in report["scenarios"]:
        for rule, said in result["rules"].items():
            wait = said["users_until_promoted"]
            users = (
                "-"
                if wait["median"] is None
                else f"{wait['median']:g} [{wait['lower']:g}, {_number(wait['upper'])}], 90 %: {_number(wait['p90'])}"
            )
            lines.append(
                f"{result['effect']:>+7g} {result['handoff_effect']:>+8g}  {_RULES[rule]:<20} {_rate(said['promoted']):>24} {_rate(said['rolled_back']):>24}  {users}"
            )
    return "\n".join(lines)


def _rate(rate: Mapping[str, float] | None) -> str:
    return "-" if rate is None else f"{rate['share']:.2%} [{rate['lower']:.2%}, {rate['upper']:.2%}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
