"""The play in front of a small world: who is asked, corrected, counted and reported, round by round."""

import pytest

from csqa_loop.demo import measuring
from csqa_loop.demo.customers import AT_ONCE, Customers
from csqa_loop.demo.play import Bounds, Mode, Play
from csqa_loop.demo.remote import Services
from csqa_loop.demo.scenario_files import load_scenario, packaged
from csqa_loop.demo.summary import Counts, Round, Summary
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.evidence.rules.grading import judge
from tests.fakes.world import ADAPTER, KEY, World

BOUNDS = Bounds(
    collect_customers=200, training_seconds=5, experiment_customers=100, verdict_seconds=1, settle_seconds=2, catch_up_seconds=2
)


class Quiet:
    def __init__(self) -> None:
        self.steps: list[str] = []
        self.results: list[str] = []

    def step(self, round_number: int, what: str) -> None:
        self.steps.append(f"{round_number} {what}")

    def detail(self, text: str) -> None:
        del text

    def result(self, text: str) -> None:
        self.results.append(text)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csqa_loop.demo.customers._FIRST_PAUSE", 0.001)
    monkeypatch.setattr(measuring, "_PAUSE_SECONDS", 0.001)


def _world(**options: object) -> World:
    return World(load_scenario(packaged("harbour-shop/scenario.yaml")), **options)  # type: ignore[arg-type]


def _play(world: World, mode: Mode = "normal", *, key: str = KEY, bounds: Bounds = BOUNDS) -> Play:
    services = Services(world.console(), world.gateway(), (world.vllm(),), operator_key=key, outage_seconds=2.0, poll_seconds=0.001)
    customers = Customers(world.gateway(), world.scenario, operator_key=key, patience=2.0)
    return Play(world.scenario, customers, services, Quiet(), seed=3, mode=mode, bounds=bounds)


async def _summary(play: Play, rounds: tuple[Round, ...]) -> Summary:
    tally = play.customers.tally
    return Summary(
        scenario=play.scenario.name,
        seed=play.seed,
        mode=play.mode,
        rounds=rounds,
        final_champion=(await play.services.status())["deployment"]["champion"],
        resident_adapters=await play.services.resident_adapters(),
        sent=Counts(chats=tally.chats, feedback=tally.feedback, bad_cases=tally.bad_cases),
        recorded=await play.caught_up(),
        seconds=1.0,
        setup_seconds=1.0,
    )


async def test_a_round_ends_with_a_promotion_and_true_figures() -> None:
    world = _world()
    play = _play(world)
    (told,) = await play.rounds(1)
    assert (told.champion.before, told.champion.after) == ("base", ADAPTER)
    assert told.run_state == "passed"
    assert told.gate is not None
    assert told.gate.passed
    assert told.first_loss == 0.6931
    assert told.train_seconds == 12.5
    assert told.experiment is not None
    assert told.experiment.verdict == "PROMOTE"
    assert told.experiment.n == told.experiment.arms.challenger.users + told.experiment.arms.control.users >= world.users_for_a_verdict
    phrasings = sum(len(question.ask) for question in world.scenario.holdout)
    before, after = told.holdout_correct.before, told.holdout_correct.after
    assert before is not None
    assert after is not None
    assert before.asked == after.asked == phrasings
    assert 0 < before.fraction < 1
    assert after.fraction == 1.0
    summary = await _summary(play, (told,))
    assert summary.sent == summary.recorded
    assert sorted(play.customers.tally.accepted) == sorted(world.event_ids)
    assert summary.as_expected("normal")
    assert not summary.as_expected("placebo")


async def test_what_is_held_out_is_measured_greedily_and_never_rated_or_corrected() -> None:
    world = _world()
    await _play(world).rounds(1)
    held_out = {question.id for question in world.scenario.holdout}
    asked = [chat for chat in world.chats if chat["question"].id in held_out]
    assert asked
    assert {chat["temperature"] for chat in asked} == {0.0}
    messages = {chat["message_id"] for chat in asked}
    assert not messages & set(world.rated)
    assert not messages & {message for message, _ in world.corrections}
    # Measuring rates nothing at all, of trained questions neither; everybody else rates once.
    unrated = {chat["message_id"] for chat in world.chats} - set(world.rated)
    assert unrated == {chat["message_id"] for chat in world.chats if chat["user"].startswith("measure-")}


async def test_every_user_asks_once_and_nobody_asks_while_it_trains() -> None:
    world = _world()
    await _play(world).rounds(1)
    users = [chat["user"] for chat in world.chats]
    assert len(set(users)) == len(users)
    group = AT_ONCE
    assert len(world.chats_in_flight) < group  # those who had begun when the run was requested


async def test_agents_correct_what_was_wrong_with_the_scenario_s_words() -> None:
    world = _world()
    await _play(world).rounds(1)
    by_message = {chat["message_id"]: chat for chat in world.chats}
    for message, text in world.corrections:
        assert not by_message[message]["right"]
        assert text == by_message[message]["question"].correction


async def test_sabotaged_corrections_are_wrong_and_the_same_for_a_seed() -> None:
    told = []
    for _ in range(2):
        world = _world(adapter_is="worse")
        play = _play(world, "sabotage")
        rounds = await play.rounds(1)
        by_message = {chat["message_id"]: chat["question"] for chat in world.chats}
        assert world.corrections
        for message, text in world.corrections:
            assert not judge(text, by_message[message], "en")
        assert rounds[0].experiment is not None
        assert rounds[0].experiment.verdict == "ROLL_BACK"
        assert (await _summary(play, rounds)).as_expected("sabotage")
        told.append(sorted(text for _, text in world.corrections))
    assert told[0] == told[1]


async def test_a_placebo_changes_nothing() -> None:
    world = _world(adapter_is="same")
    play = _play(world, "placebo")
    summary = await _summary(play, await play.rounds(1))
    assert summary.rounds[0].experiment is not None
    assert summary.rounds[0].experiment.verdict == "INCONCLUSIVE"
    assert summary.as_expected("placebo")
    assert not summary.as_expected("normal")


async def test_a_gate_that_refuses_ends_the_round_without_an_experiment() -> None:
    world = _world(gate_passes=False)
    play = _play(world)
    (told,) = await play.rounds(1)
    assert told.experiment is None
    assert told.gate is not None
    assert not told.gate.passed
    assert told.champion.before == told.champion.after == "base"
    assert not (await _summary(play, (told,))).as_expected("normal")


async def test_the_second_round_begins_with_the_first_one_s_measuring() -> None:
    world = _world()
    play = _play(world)
    # The adapter answers everything right, so nothing is left to correct: the round ends by its bound, with a reason.
    with pytest.raises(TransientError, match="no training run was requested"):
        await play.rounds(2)
    assert isinstance(play.view, Quiet)
    assert [step for step in play.view.steps if "measure" in step] == ["1 measure before", "1 measure after"]


async def test_a_loop_that_is_killed_and_comes_back_costs_nothing() -> None:
    world = _world(console_outage=40)
    play = _play(world)
    (told,) = await play.rounds(1)
    assert told.champion.after == ADAPTER
    assert (await play.caught_up()).model_dump() == world.recorded


async def test_a_gateway_that_restarts_loses_and_doubles_nothing() -> None:
    world = _world(failures=[0, 503] * 30)
    play = _play(world)
    await play.rounds(1)
    assert sorted(play.customers.tally.accepted) == sorted(world.event_ids)
    assert (await play.caught_up()).chats == play.customers.tally.chats


async def test_waiting_ends() -> None:
    world = _world(console_outage=10**9)
    services = Services(world.console(), world.gateway(), (), operator_key=KEY, outage_seconds=0.05, poll_seconds=0.001)
    world.run = {"state": "passed"}
    with pytest.raises(TransientError, match="was not available"):
        await services.status()


async def test_an_experiment_without_verdict_ends_with_the_customers() -> None:
    world = _world(users_for_a_verdict=10**9)
    with pytest.raises(TransientError, match="no verdict"):
        await _play(world).rounds(1)


async def test_a_wrong_key_is_said_at_once() -> None:
    with pytest.raises(PermanentError, match="operator key"):
        await _play(_world(), key="other").rounds(1)


async def test_services_that_have_ended_are_not_waited_for() -> None:
    def ended() -> None:
        raise TransientError("`csqa up` ended")

    world = _world(console_outage=10**9)
    world.run = {"state": "passed"}
    services = Services(world.console(), world.gateway(), (), operator_key=KEY, poll_seconds=0.001, alive=ended)
    with pytest.raises(TransientError, match="ended"):
        await services.status()
