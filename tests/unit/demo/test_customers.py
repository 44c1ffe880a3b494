"""Simulated customers count what the gateway accepted, once, whatever happens on the way."""

import asyncio
import itertools
import json
from typing import Any

import pytest

from csqa_loop.demo.customers import Customers, Visit, each, visits
from csqa_loop.demo.scenario_files import load_scenario, packaged
from csqa_loop.errors import PermanentError, TransientError
from jobs import simulate_customers
from tests.fakes.world import KEY, World


@pytest.fixture
def world() -> World:
    return World(load_scenario(packaged("harbour-shop-zh/scenario.yaml")))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csqa_loop.demo.customers._FIRST_PAUSE", 0.001)


def _customers(world: World, **options: Any) -> Customers:
    return Customers(world.gateway(), world.scenario, operator_key=KEY, **options)


async def test_a_customer_asks_rates_and_an_agent_reports(world: World) -> None:
    customers = _customers(world)
    question = world.scenario.trainable[0]
    answer = await customers.ask(Visit("u-1", question, question.ask[0]))
    await customers.rate(answer)
    await customers.report(answer, "better", "agent-1")
    assert not answer.right  # base gets every second question wrong
    assert world.rated == {answer.message_id: "down"}
    assert world.corrections == [(answer.message_id, "better")]
    assert (customers.tally.chats, customers.tally.feedback, customers.tally.bad_cases) == (1, 1, 1)
    assert sorted(customers.tally.accepted) == sorted(world.event_ids)


@pytest.mark.parametrize("failures", [[503], [0], [0, 503, 502, 0], [503] * 5])
async def test_a_restart_of_the_gateway_loses_and_doubles_nothing(world: World, failures: list[int]) -> None:
    customers = _customers(world)

    async def act(visit: Visit) -> None:
        answer = await customers.ask(visit)
        world.failures += failures
        await customers.rate(answer)

    await each(itertools.islice(visits(world.scenario.trainable, prefix="c", seed=1), 20), act)
    assert (customers.tally.chats, customers.tally.feedback) == (20, 20)
    assert sorted(customers.tally.accepted) == sorted(world.event_ids)


async def test_retries_end(world: World) -> None:
    customers = _customers(world, patience=0.05)
    world.failures += [503] * 100_000
    with pytest.raises(TransientError, match=r"no acceptance within .* status 503: try later"):
        await customers.ask(Visit("u", world.scenario.trainable[0], world.scenario.trainable[0].ask[0]))
    assert customers.tally.chats == 0


async def test_a_refusal_is_not_tried_again(world: World) -> None:
    customers = Customers(world.gateway(), world.scenario, operator_key="wrong")
    question = world.scenario.trainable[0]
    answer = await customers.ask(Visit("u", question, question.ask[0]))
    with pytest.raises(PermanentError, match="401"):
        await customers.report(answer, "better", "agent-1")
    assert customers.tally.bad_cases == 0


def test_visits_repeat_with_the_seed_and_never_show_what_is_held_out() -> None:
    scenario = load_scenario(packaged("harbour-shop/scenario.yaml"))
    number = 3 * len(scenario.trainable)

    def first(seed: int) -> list[Visit]:
        return list(itertools.islice(visits(scenario.trainable, prefix="c", seed=seed), number))

    assert first(1) == first(1)
    assert first(1) != first(2)
    coming = first(1)
    assert len({visit.user for visit in coming}) == number
    held_out = {text for question in scenario.holdout for text in question.ask}
    assert not held_out & {visit.text for visit in coming}
    per_question = len(scenario.trainable)
    assert {visit.question.id for visit in coming[:per_question]} == {question.id for question in scenario.trainable}
    assert {visit.text for visit in coming[:per_question]} == {question.ask[0] for question in scenario.trainable}
    assert {visit.text for visit in coming[per_question : 2 * per_question]} == {question.ask[1] for question in scenario.trainable}


async def test_at_most_so_many_ask_at_once() -> None:
    now, most = 0, 0

    async def act(_: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    await each(range(50), act, at_once=8)
    assert most == 8


async def test_the_first_error_ends_the_rest() -> None:
    done: list[int] = []

    async def act(number: int) -> None:
        if number == 3:
            raise TransientError("three")
        done.append(number)

    with pytest.raises(TransientError, match="three"):
        await each(range(1000), act, at_once=2)
    assert len(done) < 1000


def test_as_a_program_it_prints_what_was_accepted(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = world.gateway()
    monkeypatch.setattr(simulate_customers.httpx, "AsyncClient", lambda **_: gateway)
    scenario = str(packaged("harbour-shop-zh/scenario.yaml"))
    assert (
        simulate_customers.main(
            ["--scenario", scenario, "--gateway", "http://gateway", "--users", "9", "--seed", "4", "--operator-key", KEY]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["users"] == told["chats"] == told["feedback"] == 9
    assert told["bad_cases"] == 9 - told["right"] > 0


def test_as_a_program_it_says_in_one_line_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate_customers.main(["--scenario", "/nowhere.yaml"]) == 1
    assert capsys.readouterr().err.startswith("simulate_customers: scenario /nowhere.yaml does not exist")
