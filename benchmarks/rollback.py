"""How long after an operator's rollback, or after harm can be seen, does the last gateway serve the champion from before?

The real parts of one machine (`csqa up`, with real vLLM) and a second gateway beside it, twice: with that vLLM alone (`well`), and with a second
model server that does as vLLM does until, up to five seconds before what is timed, it hangs: it takes connections and answers none
(`hung`). In both, every round does two things.

`rollback`: promotes an adapter, waits until every gateway serves it and nothing is under way, orders a rollback to the base at a random moment
of the loop's beat, and asks the gateways in turn for the revision that they serve. Timed from the order's acknowledgement, when it is in the log
and in the ledger, to the first time that every gateway has told the new revision; `rollback_from_order` is from the moment before the order was sent.

`breach`: an adapter that the gate has passed is on trial; 60 users an arm rate, the challenger's all down and the champion's all up. Nobody orders
anything: the loop decides ROLL_BACK and takes the challenger out. Timed from when the harm can be seen first, which is when the log has acknowledged
the last thumb and the last user's window and the grace after it are over, whichever comes last, to the first time that every gateway has told the
new revision.

With `--clients` customers chat all the while with the machine that is well; by default nobody does. CSQA_TEST_RUNS sets the number of rounds.
Writes var/bench/rollback.json; exit status 1 when a goal is missed.
"""

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
from _bench import Figure, figure, report
from _breach import EXPERIMENT, begin, harm
from _customers import Customers
from _replica import Replica, replica
from _service import Machine, machine, revision_of, until, vllm

from csqa_loop.events import BASE

P95_SECONDS = 2.0
_POLL_SECONDS = 0.01
_BEATS_SECONDS = 3.0
"""Two of the loop's beats: right after a deployment every order would meet the same part of one."""
_HUNG_SECONDS = 5.0
"""Longer than probes need to find out."""


def rolled_back(machine: Machine, adapter: str, chance: random.Random, second: Replica | None) -> tuple[float, float]:
    """Seconds from the order's acknowledgement, and from before it was sent."""
    machine.order("promote", target=adapter)
    before = machine.settled(adapter)
    time.sleep(chance.uniform(0, _BEATS_SECONDS))
    _hang(second, chance)
    sent = time.time()
    machine.order("rollback")
    acknowledged = time.time()
    switched = _switched(machine, before)
    _settled(machine, before, second)
    return switched - acknowledged, switched - sent


def breached(machine: Machine, adapter: str, number: int, chance: random.Random, second: Replica | None) -> float:
    """Seconds from when the harm can be seen."""
    experiment = begin(machine.settings, adapter, number)

    def on_trial() -> int:
        deployed = machine.console.get("/v1/status").json()["deployment"]
        revision: int = deployed["revision"]
        told = {revision_of(gateway) for gateway in machine.gateways}
        return revision if deployed["experiment"] == experiment and told == {revision} else 0

    before = until(on_trial, f"{experiment} at every gateway")
    time.sleep(chance.uniform(0, _BEATS_SECONDS))
    _hang(second, chance)
    seen = harm(machine.settings, experiment, adapter)
    switched = _switched(machine, before)
    verdict = machine.console.get(f"/v1/experiments/{experiment}").json()
    if verdict["verdict"] != "ROLL_BACK":
        raise RuntimeError(f"{experiment} ended {verdict['verdict']} ({verdict['stopped_by']}); ROLL_BACK was to come")
    _settled(machine, before, second)
    return switched - seen


def _hang(second: Replica | None, chance: random.Random) -> None:
    if second:
        second.hang()
        time.sleep(chance.uniform(0, _HUNG_SECONDS))


def _switched(machine: Machine, before: int) -> float:
    """When every gateway has told a later revision than `before`."""
    behind = set(machine.gateways)

    def all_switched() -> bool:
        behind.difference_update([gateway for gateway in behind if revision_of(gateway) > before])
        return not behind

    until(all_switched, "a new revision at every gateway", poll=_POLL_SECONDS)
    return time.time()


def _settled(machine: Machine, before: int, second: Replica | None) -> None:
    """The base is champion, and what is timed was the only step."""
    if second:
        second.recover()
    after = machine.settled(BASE)
    if after != before + 1:  # otherwise what the gateways told first was not the rollback
        raise RuntimeError(f"the rollback took revision {before} to {after}; one step was expected")


def measure(machine: Machine, rounds: int, chance: random.Random, second: Replica | None = None) -> dict[str, list[float]]:
    """Name of what was timed -> seconds of every round."""
    found: dict[str, list[float]] = {"rollback": [], "rollback_from_order": [], "breach": []}
    for number in range(rounds):
        acknowledged, sent = rolled_back(machine, machine.adapters[number % 2], chance, second)
        seen = breached(machine, machine.adapters[number % 2], number, chance, second)
        for name, seconds in zip(found, (acknowledged, sent, seen), strict=True):
            found[name].append(seconds)
        told = ", ".join(f"{name} {seconds[-1]:.3f} s" for name, seconds in found.items())
        print(f"{'hung' if second else 'well'} {number + 1}/{rounds}: {told}", file=sys.stderr, flush=True)
    return found


def figures(label: str, timed: dict[str, list[float]], seed: int) -> list[Figure]:
    """p50, p95 and the worst of each."""
    found: list[Figure] = []
    for name, seconds in timed.items():
        for word, share in (("p50", 0.5), ("p95", 0.95), ("worst", 1.0)):
            goal = P95_SECONDS if word == "p95" and name in {"rollback", "breach"} else None
            found.append(figure(f"{name}.{label}.{word}", float(np.quantile(seconds, share)), "s", goal=goal, n=len(seconds), seed=seed))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("CSQA_TEST_RUNS", "20")), help="of each (%(default)s)")
    parser.add_argument("--gateways", type=int, default=2, help="gateway processes (%(default)s)")
    parser.add_argument("--clients", type=int, default=0, help="customers at once (%(default)s)")
    parser.add_argument("--seed", type=int, default=20_265, help="of the moments and of what customers ask (%(default)s)")
    options = parser.parse_args(arguments)
    chance = random.Random(options.seed)
    told: list[Figure] = []
    with vllm() as first:
        with machine(gateways=options.gateways, model_servers=(first,), variables=EXPERIMENT) as running, ExitStack() as stack:
            customers = stack.enter_context(Customers(running.gateway_urls, options.clients, options.seed))
            told += figures("well", measure(running, options.rounds, chance), options.seed)
        with (
            replica() as second,
            machine(gateways=options.gateways, model_servers=(first, second.url), variables=EXPERIMENT) as running,
        ):
            told += figures("hung", measure(running, options.rounds, chance, second), options.seed)
    failures = Counter(chat.failure for chat in customers.chats if chat.failure)
    asked = figure("rollback.failed", failures.total(), "requests", goal=0, n=len(customers.chats), seed=options.seed)
    return report("rollback", [*told, asked])


if __name__ == "__main__":
    sys.exit(main())
