"""Does a request fail while operators promote adapters and roll them back, and how soon does traffic follow?

The real parts of one machine (`csqa up`: broker, vLLM, gateway, indexer, loop, trainer) with two adapters. Customers chat without pause through
the gateway, half of them streaming, while the operator API is ordered, over and over: promote the first adapter, promote the second, roll back, roll
back again. The next order comes when every customer has had an answer of the new champion and some quiet seconds have passed.

A request fails by its status, by a stream that breaks off, or by an answer that no model gave. A request counts as sent during a switch where it
overlaps the time from the order to the end of the last answer of the old champion, or of the first one of the new; p50 and p95 of those
stand beside the others as their baseline (the longer a request, the likelier it overlaps: the two differ a little also where a switch costs
nothing). `first_answer` is from the order's acknowledgement to the end of the first answer of the new champion, `last_old` to the beginning of the
last request that the old one still answered.

Writes var/bench/switch_under_load.json, and a row a switch to var/bench/switch_under_load.csv; exit status 1 when a request failed or a
switch did not happen.
"""

import argparse
import csv
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from _bench import Figure, figure, report
from _customers import Chat, Customers
from _service import Machine, machine

from csqa_loop.events import BASE

_QUIET_SECONDS = 3.0
"""Between switches: what runs then is the baseline."""
_SHOWN_FAILURES = 5


@dataclass(frozen=True)
class Order:
    """One that was carried out. Moments are monotonic seconds."""

    action: str
    old: str
    new: str
    sent: float
    acknowledged: float


@dataclass(frozen=True)
class Switch:
    """What customers saw of an order; seconds from its acknowledgement."""

    number: int
    action: str
    old: str
    new: str
    acknowledged_after: float
    first_answer: float
    last_old: float


def switched(machine: Machine, customers: Customers, switches: int) -> list[Order]:
    """Give the orders, one after the other; those that were carried out. Ends with the first one that was not.

    Raises:
        TimeoutError: not even the first one was.
    """
    first, second = machine.adapters
    plan = (("promote", first), ("promote", second), ("rollback", first), ("rollback", BASE))
    champion = BASE
    orders: list[Order] = []
    customers.wait_for(BASE, since=time.monotonic())  # the first answers of a process are slow ones
    time.sleep(_QUIET_SECONDS)
    for number in range(switches):
        action, new = plan[number % len(plan)]
        sent = time.monotonic()
        event = machine.order(action, target=new if action == "promote" else "")
        acknowledged = time.monotonic()
        if event["target"] != new:
            raise RuntimeError(f"the {action} went to {event['target']}; {new} was to be next")
        try:
            customers.wait_for(new, since=acknowledged)
        except TimeoutError as error:
            if not orders:
                raise
            print(f"{number + 1}/{switches}: {action}: {error}", file=sys.stderr)
            break
        orders.append(Order(action, champion, new, sent, acknowledged))
        champion = new
        print(f"{number + 1}/{switches}: {action} to {new} after {time.monotonic() - sent:.1f} s", file=sys.stderr, flush=True)
        time.sleep(_QUIET_SECONDS)
    return orders


def seen(orders: Sequence[Order], chats: Sequence[Chat]) -> tuple[list[Switch], list[Chat], int]:
    """(every switch, the answers during one, the number of answers of an adapter that was not to answer)."""
    switches: list[Switch] = []
    during: list[Chat] = []
    strays = 0
    ends = [order.sent for order in orders[1:]] + [float("inf")]
    for number, (order, end) in enumerate(zip(orders, ends, strict=True)):
        begun = [chat for chat in chats if order.sent <= chat.began < end and not chat.failure]
        first = min(chat.ended for chat in begun if chat.adapter == order.new)
        left = [chat for chat in begun if chat.adapter == order.old]
        over = max([first, *(chat.ended for chat in left)])
        during += [chat for chat in chats if chat.began < over and chat.ended > order.sent and not chat.failure]
        strays += len([chat for chat in begun if chat.adapter not in {order.old, order.new}])
        last = max([order.acknowledged, *(chat.began for chat in left)])
        switches.append(
            Switch(
                number + 1, order.action, order.old, order.new, round(order.acknowledged - order.sent, 3),
                round(first - order.acknowledged, 3), round(last - order.acknowledged, 3),
            )
        )  # fmt: skip
    return switches, during, strays


def figures(planned: int, orders: Sequence[Order], chats: Sequence[Chat], seed: int) -> list[Figure]:
    """All of them; writes the table of switches."""
    switches, during, strays = seen(orders, chats)
    with Path("var/bench/switch_under_load.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Switch)])
        table.writeheader()
        table.writerows(asdict(switch) for switch in switches)
    failures = Counter(chat.failure for chat in chats if chat.failure)
    for failure, times in failures.most_common(_SHOWN_FAILURES):
        print(f"failed {times} times with {failure}", file=sys.stderr)
    inside = set(during)
    warm = orders[0].sent - _QUIET_SECONDS
    outside = [chat for chat in chats if not chat.failure and chat.began >= warm and chat not in inside]

    def at(share: float, sample: Sequence[Chat]) -> float:
        return float(np.quantile([chat.ended - chat.began for chat in sample], share))

    asked, orders_given = {"n": len(chats), "seed": seed}, {"n": len(switches), "seed": seed}
    found = [
        figure("switch_under_load.failed", failures.total(), "requests", goal=0, **asked),
        figure("switch_under_load.switches", len(switches), "switches", goal=planned, at_least=True, **orders_given),
        figure("switch_under_load.of_neither", strays, "answers", **asked),
    ]
    for adapter, times in sorted(Counter(chat.adapter for chat in chats if not chat.failure).items()):
        found.append(figure(f"answers.{adapter}", times, "answers", **asked))
    told = {"n": len(inside), "seed": seed}
    for name, share in (("p50", 0.5), ("p95", 0.95)):
        found.append(figure(f"latency_during.{name}", at(share, [*inside]), "s", baseline=at(share, outside), **told))
    found.append(figure("latency_during.ratio_of_p95", at(0.95, [*inside]) / at(0.95, outside), "times outside", baseline=1.0, **told))
    for name in ("first_answer", "last_old"):
        seconds = [getattr(switch, name) for switch in switches]
        for word, share in (("p50", 0.5), ("p95", 0.95), ("worst", 1.0)):
            found.append(figure(f"{name}.{word}", float(np.quantile(seconds, share)), "s", **orders_given))
    return found


def main() -> int:
    """Measure, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--switches", type=int, default=50, help="promotions and rollbacks together (%(default)s)")
    parser.add_argument("--clients", type=int, default=4, help="customers at once (%(default)s)")
    parser.add_argument("--seed", type=int, default=20_264, help="of what they ask (%(default)s)")
    options = parser.parse_args()
    Path("var/bench").mkdir(parents=True, exist_ok=True)
    with machine() as running, Customers(running.gateway_urls, options.clients, options.seed) as customers:
        orders = switched(running, customers, options.switches)
    return report("switch_under_load", figures(options.switches, orders, customers.chats, options.seed))


if __name__ == "__main__":
    sys.exit(main())
