"""How long after an operator's rollback does the last gateway serve the champion from before?

The real parts of one machine (`csqa up`, with real vLLM) and a second gateway beside it. Each round promotes an adapter, waits until every gateway
serves it and nothing is under way, orders a rollback to the base at a random moment of the loop's beat, and asks the gateways in turn for the
revision that they serve. `rollback` is from the order's acknowledgement, when it is in the log and in the ledger, to the first time that every
gateway has told the new revision; `rollback_from_order` is from the moment before the order was sent. With `--clients` customers chat all the
while; by default nobody does.

Writes var/bench/rollback.json; exit status 1 when the goal is missed.
"""

import argparse
import random
import sys
import time
from collections import Counter
from contextlib import ExitStack

import numpy as np
from _bench import Figure, figure, report
from _customers import Customers
from _service import Machine, machine, revision_of, until

from csqa_loop.domain.events import BASE

P95_SECONDS = 2.0
_POLL_SECONDS = 0.01
_BEATS_SECONDS = 3.0
"""Two of the loop's beats: right after a deployment every order would meet the same part of one."""


def rolled_back(machine: Machine, adapter: str, chance: random.Random) -> tuple[float, float]:
    """Seconds from the order's acknowledgement, and from before it was sent."""
    machine.order("promote", target=adapter)
    before = machine.settled(adapter)
    time.sleep(chance.uniform(0, _BEATS_SECONDS))
    sent = time.monotonic()
    machine.order("rollback")
    acknowledged = time.monotonic()
    behind = set(machine.gateways)

    def all_switched() -> bool:
        behind.difference_update([gateway for gateway in behind if revision_of(gateway) > before])
        return not behind

    until(all_switched, "a new revision at every gateway", poll=_POLL_SECONDS)
    switched = time.monotonic()
    after = machine.settled(BASE)
    if after != before + 1:  # otherwise what the gateways told first was not the rollback
        raise RuntimeError(f"the rollback took revision {before} to {after}; one step was expected")
    return switched - acknowledged, switched - sent


def figures(seconds: list[tuple[float, float]], seed: int) -> list[Figure]:
    """p50, p95 and the worst of both."""
    found: list[Figure] = []
    told = {"n": len(seconds), "seed": seed}
    for name, sample in zip(("rollback", "rollback_from_order"), zip(*seconds, strict=True), strict=True):
        for word, share in (("p50", 0.5), ("p95", 0.95), ("worst", 1.0)):
            goal = P95_SECONDS if (name, word) == ("rollback", "p95") else None
            found.append(figure(f"{name}.{word}", float(np.quantile(sample, share)), "s", goal=goal, **told))
    return found


def main() -> int:
    """Measure, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="rollbacks, each after a promotion (%(default)s)")
    parser.add_argument("--gateways", type=int, default=2, help="gateway processes (%(default)s)")
    parser.add_argument("--clients", type=int, default=0, help="customers at once (%(default)s)")
    parser.add_argument("--seed", type=int, default=20_265, help="of the moments and of what customers ask (%(default)s)")
    options = parser.parse_args()
    seconds: list[tuple[float, float]] = []
    chance = random.Random(options.seed)
    with machine(gateways=options.gateways) as running, ExitStack() as stack:
        customers = stack.enter_context(Customers(running.gateway_urls, options.clients, options.seed))
        for number in range(options.rounds):
            seconds.append(rolled_back(running, running.adapters[number % 2], chance))
            print(f"{number + 1}/{options.rounds}: {seconds[-1][0]:.3f} s", file=sys.stderr, flush=True)
    failures = Counter(chat.failure for chat in customers.chats if chat.failure)
    asked = {"n": len(customers.chats), "seed": options.seed}
    return report("rollback", [*figures(seconds, options.seed), figure("rollback.failed", failures.total(), "requests", goal=0, **asked)])


if __name__ == "__main__":
    sys.exit(main())
