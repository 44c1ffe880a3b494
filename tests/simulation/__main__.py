"""`python -m tests.simulation --runs 10000 --seed 1`, and `--only SEED` for the history of one. Status 1 where something did not hold."""

import argparse
import logging
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable

from tests.simulation.process import quick_analysis
from tests.simulation.scheduler import Outcome, run

_SHOWN = 20


def outcomes(seeds: Iterable[int]) -> list[Outcome]:
    """Of these seeds, in this process."""
    with quick_analysis():
        return [run(seed) for seed in seeds]


def _quiet() -> None:
    logging.disable(logging.CRITICAL)  # replicas that refuse are warned about thousands of times


def _show(found: list[Outcome], seconds: float) -> int:
    injected: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    for outcome in found:
        injected.update(outcome.injected)
        reached.update(outcome.reached)
    for title, counts in (("faults, orders and delays", injected), ("facts in the logs", reached)):
        print(f"{title}:")
        for name, count in sorted(counts.items()):
            print(f"  {count:>8}  {name}")
    failed = [outcome for outcome in found if outcome.violations]
    steps, most = sum(outcome.steps for outcome in found), max(outcome.beats_to_rest for outcome in found)
    print(
        f"{len(found)} interleavings, {steps} steps, at rest after {most} beats at most, {seconds:.1f} s, {len(failed)} violated something"
    )
    for outcome in failed[:_SHOWN]:
        print(f"seed {outcome.seed}: {'; '.join(outcome.violations)}")
    if len(failed) > _SHOWN:
        print(f"and {len(failed) - _SHOWN} more; `--only SEED` tells the history of one")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--runs", type=int, default=10_000, help="interleavings")
    parser.add_argument("--seed", type=int, default=1, help="of the first one; each next one has the next")
    parser.add_argument("--only", type=int, help="this seed alone, with its history")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    _quiet()
    if options.only is not None:
        with quick_analysis():
            outcome = run(options.only, tell=True)
        print(*outcome.history, *(f"VIOLATED: {text}" for text in outcome.violations), sep="\n")
        return 1 if outcome.violations else 0
    if options.runs < 1 or options.processes < 1:
        parser.error("--runs and --processes are at least 1")
    began = time.monotonic()
    seeds = range(options.seed, options.seed + options.runs)
    with multiprocessing.Pool(options.processes, _quiet) as pool:
        parts = pool.map(outcomes, [seeds[place :: 4 * options.processes] for place in range(4 * options.processes)], chunksize=1)
    found = sorted((outcome for part in parts for outcome in part), key=lambda outcome: outcome.seed)
    return _show(found, time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
