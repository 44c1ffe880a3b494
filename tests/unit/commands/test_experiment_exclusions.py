"""`csqa experiment analyse` where users were left out: who, and whether a verdict may still rest on the others."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from csqa_loop.commands.experiment import app
from csqa_loop.errors import PermanentError
from csqa_loop.experiment.offline.rules.exclusions import LEVEL, MOST, Exclusion, doubt_about

HEADER = "experiment,user,arm,closed_at,satisfaction_num,satisfaction_den"
START = datetime(2026, 3, 1, tzinfo=UTC)
USERS = 1600
Cells = tuple[str, str]


def table(folder: Path, cells: Callable[[int, str, int], Cells], rates: tuple[float, float] = (0.75, 0.5)) -> Path:
    """Users of both arms in turn; `cells` makes the numerator and denominator of user number, arm and thumb."""
    rng, lines = np.random.default_rng(3), [HEADER]
    for number in range(USERS):
        arm = ("challenger", "control")[number % 2]
        thumb = int(rng.random() < rates[number % 2])
        lines.append(",".join(["x", f"u{number}", arm, (START + timedelta(minutes=number)).isoformat(), *cells(number, arm, thumb)]))
    file = folder / "users.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def call(file: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["analyse", str(file), "--burn-in", "100", *options], catch_exceptions=False)


def analysed(file: Path, *options: str) -> dict:
    (found,) = json.loads(call(file, "--json", *options).stdout)
    return found


def complete(number: int, arm: str, thumb: int) -> Cells:
    del number, arm
    return str(thumb), "1"


def happy_alone(number: int, arm: str, thumb: int) -> Cells:
    """A tenth of the unhappy ones has no numerator, in both arms alike."""
    del arm
    return ("" if not thumb and number % 10 < 2 else str(thumb)), "1"


def happy_challengers(number: int, arm: str, thumb: int) -> Cells:
    """A twentieth of the challenger's unhappy users is missing: a small share of all."""
    return ("" if not thumb and arm == "challenger" and number % 20 < 4 else str(thumb)), "1"


def silent_challengers(number: int, arm: str, thumb: int) -> Cells:
    return ("", "") if not thumb and arm == "challenger" and number % 20 < 4 else (str(thumb), "1")


def test_with_nobody_left_out_a_better_challenger_is_promoted(tmp_path: Path):
    found = analysed(table(tmp_path, complete))
    assert (found["verdict"], found["exclusions"], found["doubt"]) == ("PROMOTE", [], None)


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (happy_alone, r"challenger rows \(\d.*left out, .* for satisfaction_num is empty; at most 5% would do"),
        (happy_challengers, r"left out: satisfaction_num is empty \(Fisher's exact p = "),
        (silent_challengers, r"have no value of satisfaction \(Fisher's exact p = "),
    ],
)
def test_users_who_may_have_been_picked_are_promoted_on_no_account(tmp_path: Path, cells: Callable[[int, str, int], Cells], says: str):
    file = table(tmp_path, cells)
    found = analysed(file)
    assert found["verdict"] == "CONTINUE"
    assert found["lower"] > 0
    assert found["stopped_by"].endswith(found["doubt"])
    assert re.search(says, found["doubt"]), found["doubt"]
    assert found["doubt"] in call(file).stdout
    assert analysed(file, "--max-users", "300")["verdict"] == "INCONCLUSIVE"


def test_a_few_who_are_left_out_alike_cost_nothing(tmp_path: Path):
    found = analysed(table(tmp_path, lambda number, arm, thumb: ("", "1") if number % 50 < 2 else complete(number, arm, thumb)))
    assert (found["verdict"], found["doubt"]) == ("PROMOTE", None)
    assert [(one["arm"], one["rows"], one["share"]) for one in found["exclusions"]] == [("challenger", 32, 0.04), ("control", 32, 0.04)]


def test_harm_stops_an_experiment_whoever_was_left_out(tmp_path: Path):
    found = analysed(table(tmp_path, happy_challengers, rates=(0.4, 0.8)))
    assert found["verdict"] == "ROLL_BACK"
    assert found["stopped_by"].endswith(f"; nothing could have been promoted: {found['doubt']}")


def test_each_reason_is_shown_by_arm_with_its_first_row(tmp_path: Path):
    file = table(tmp_path, happy_challengers)
    (one,) = analysed(file)["exclusions"]
    line = file.read_text(encoding="utf-8").splitlines()[int(one["first"].split(":")[0].removeprefix("line ")) - 1]
    assert ",challenger," in line
    assert line.endswith(",,1")
    assert (one["arm"], one["reason"]) == ("challenger", "satisfaction_num is empty")
    assert one["first"].endswith(f"user '{line.split(',')[1]}', satisfaction_num '', satisfaction_den '1'")
    assert (
        f"left out: {one['rows']} challenger rows ({one['share']:.1%}), satisfaction_num is empty; first {one['first']}"
        in call(file).stdout
    )


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (lambda number, arm, thumb: ("", "1"), "no usable challenger and no usable control user .* left out: 800 rows, satisfaction_num is empty"),
        (lambda number, arm, thumb: (str(thumb), "1") if arm == "control" else ("0", "0"), "'x' has no usable challenger user with satisf"),
        (lambda number, arm, thumb: (str(thumb), "1") if arm == "challenger" else ("", ""), "no usable control user with satisfaction"),
    ],
)  # fmt: skip
def test_nothing_analysed_is_an_error(tmp_path: Path, cells: Callable[[int, str, int], Cells], says: str):
    with pytest.raises(PermanentError, match=says):
        call(table(tmp_path, cells))


def left_out(challenger: int, control: int, reason: str = "r") -> list[Exclusion]:
    counted = {"challenger": challenger, "control": control}
    return [Exclusion(arm, reason, rows, "line 2") for arm, rows in counted.items() if rows]


def test_by_chance_alone_the_arms_differ_as_seldom_as_promised():
    rng, doubts, rounds = np.random.default_rng(7), 0, 3000
    for _ in range(rounds):
        gone = rng.binomial(1000, 0.02, (2, 2))
        excluded = [*left_out(*gone[0], "one"), *left_out(*gone[1], "other")]
        kept = {"challenger": 1000 - int(gone[:, 0].sum()), "control": 1000 - int(gone[:, 1].sum())}
        doubts += "Fisher" in (doubt_about(excluded, kept, {"challenger": 0, "control": 0}, "m") or "")
    assert doubts <= 3000 * LEVEL + 6


def test_the_largest_share_is_allowed_and_no_more():
    silent = {"challenger": 0, "control": 0}
    most = int(MOST * 1000)
    assert doubt_about(left_out(most, most), dict.fromkeys(silent, 1000 - most), silent, "m") is None
    assert "at most 5%" in (doubt_about(left_out(most + 1, most + 1), dict.fromkeys(silent, 1000 - most - 1), silent, "m") or "")


def test_reasons_that_make_up_for_each_other_are_told_apart():
    excluded = [*left_out(30, 0, "one"), *left_out(0, 30, "other")]
    kept, silent = {"challenger": 970, "control": 970}, {"challenger": 0, "control": 0}
    assert "are left out: one" in (doubt_about(excluded, kept, silent, "m") or "")
