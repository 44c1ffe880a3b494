"""How much better does the whole loop make answers to questions it never saw, after one round and after two, and does it forget anything?

Each seed is a demo of its own on the packaged shop, with two rounds: real broker, vLLM, training, gate and experiment; the seed decides what customers
ask and how they rate. Held-out questions are asked before and after each round and never corrected. The gain is the rise of the share that is
right, over the base model; intervals are Student's over seeds, 95 %. Forgetting is the fall of the regression questions, as the gate
counted them for the base and for the last adapter that was promoted.

Experiments may ask more customers than a demo's: what a second round adds is about +0.1, which 300 users an arm show in every other case only
(docs/statistics.md), and a better adapter that stays a challenger helps nobody.

Writes var/bench/closed_loop_gain.json; exit status 1 when a goal is missed. CSQA_TEST_RUNS sets the number of seeds (default 3). Half an hour a
seed and more on two cores, with nothing beside it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

from _bench import Figure, figure, report
from scipy import stats

GOAL = 0.25
ROUNDS = 2
_SECONDS = 5400
_MORE_USERS = {"CSQA_EXPERIMENT__MAX_USERS": "500", "CSQA_EXPERIMENT__MAX_SECONDS": "3600"}
_FOLDER = Path("var/bench/closed_loop_gain")


def played(seed: int) -> list[dict[str, Any]]:
    """The rounds of one demo, in a folder of its own that keeps its logs."""
    var = (_FOLDER / f"seed-{seed}").resolve()
    var.mkdir(parents=True, exist_ok=True)
    if not (var / "models").exists():
        (var / "models").symlink_to(Path("var/models").resolve())
    summary = var / "summary.json"
    summary.unlink(missing_ok=True)
    command = (sys.executable, "-m", "csqa_loop.cli", "demo", "--rounds", str(ROUNDS), "--seed", str(seed), "--out", str(summary))
    # A second round may well be held: that is a result, and its exit status is the demo's own business.
    subprocess.run(
        command,
        env=os.environ | {"CSQA_VAR": str(var)} | _MORE_USERS,
        stdout=sys.stderr,
        timeout=_SECONDS,
        check=False,
    )
    rounds: list[dict[str, Any]] = json.loads(summary.read_text())["rounds"]
    if len(rounds) != ROUNDS:
        raise RuntimeError(f"{summary} has {len(rounds)} rounds of {ROUNDS}; the reason is in {var / 'logs'}")
    return rounds


def regression(rounds: list[dict[str, Any]]) -> float:
    """Share of regression questions right: the last promoted adapter's less the base's. 0 where nothing was promoted."""
    told = [
        (check["champion"], check["candidate"], one["champion"]["after"] != one["champion"]["before"])
        for one in rounds
        for check in one["gate"]["checks"]
        if check["name"] == "regression questions"
    ]
    promoted = [candidate for _, candidate, taken in told if taken]
    return float(promoted[-1] - told[0][0]) if promoted else 0.0


def main() -> int:
    """The exit status."""
    seeds = range(1, int(os.environ.get("CSQA_TEST_RUNS", "3")) + 1)
    games = [played(seed) for seed in seeds]
    figures: list[Figure] = []
    for number in range(ROUNDS):
        gains = [game[number]["holdout_correct"]["after"]["fraction"] - game[0]["holdout_correct"]["before"]["fraction"] for game in games]
        name = f"gain_after_{number + 1}"
        last = number == ROUNDS - 1
        figures += [figure(f"{name}_seed_{seed}", gain, "share", n=1, seed=seed) for seed, gain in zip(seeds, gains, strict=True)]
        figures.append(figure(f"{name}_mean", fmean(gains), "share", n=len(gains), seed=1, goal=GOAL if last else None, at_least=True))
        if len(gains) > 1:
            low, high = stats.t.interval(0.95, len(gains) - 1, fmean(gains), stats.sem(gains))
            figures += [figure(f"{name}_{side}", value, "share", n=len(gains), seed=1) for side, value in (("low", low), ("high", high))]
    forgotten = min(regression(game) for game in games)
    figures.append(figure("regression_change_worst", forgotten, "share", n=len(games), seed=1, goal=0.0, at_least=True))
    return report("closed_loop_gain", figures)


if __name__ == "__main__":
    sys.exit(main())
