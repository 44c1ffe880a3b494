"""Simulated customers and agents: `python -m jobs.simulate_customers --scenario F --gateway URL --users N --seed S`.

A pure client of the gateway. Every question comes from a new user, who rates the answer once; agents report what was wrong with the answer
that should have been given. Counted is only what the gateway accepted, with the event ids that it returned.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from csqa_loop.demo.customers import AT_ONCE, Customers, Visit, each, visits
from csqa_loop.demo.scenario import ScenarioQuestion
from csqa_loop.demo.scenario_files import load_scenario
from csqa_loop.errors import CsqaError, PermanentError


def main(argv: Sequence[str] | None = None) -> int:
    """Let customers ask; prints what was accepted as one line of JSON. Exit code 1 with one line on stderr when something failed."""
    parser = argparse.ArgumentParser(
        prog="simulate_customers", description="Customers and agents of a scenario, against a running gateway."
    )
    parser.add_argument("--scenario", type=Path, required=True, help="scenario file (YAML)")
    parser.add_argument("--gateway", default="http://127.0.0.1:8000", help="base URL of the gateway")
    parser.add_argument("--users", type=int, default=50, help="how many customers ask, one question each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="customers at the same time")
    parser.add_argument("--operator-key", default=os.environ.get("CSQA_OPERATOR_KEY", ""), help="with it, agents report wrong answers")
    options = parser.parse_args(argv)
    try:
        print(json.dumps(asyncio.run(_simulate(options))))
    except CsqaError as error:
        print(f"simulate_customers: {error}", file=sys.stderr)
        return 1
    return 0


async def _simulate(options: argparse.Namespace) -> dict[str, Any]:
    if options.users < 1 or options.at_once < 1:
        raise PermanentError("--users and --at-once must be 1 or more")
    scenario = load_scenario(options.scenario)
    async with httpx.AsyncClient(base_url=options.gateway, timeout=120.0) as client:
        customers = Customers(client, scenario, operator_key=options.operator_key)

        async def act(visit: Visit) -> bool:
            answer = await customers.ask(visit)
            await customers.rate(answer)
            if not answer.right and options.operator_key and isinstance(visit.question, ScenarioQuestion) and visit.question.correction:
                await customers.report(answer, visit.question.correction, "agent-1")
            return answer.right

        coming = visits(scenario.trainable, prefix="customer", seed=options.seed)
        right = await each((next(coming) for _ in range(options.users)), act, at_once=options.at_once)
    tally = customers.tally
    return {"users": options.users, "right": sum(right), "chats": tally.chats, "feedback": tally.feedback, "bad_cases": tally.bad_cases}


if __name__ == "__main__":
    sys.exit(main())
