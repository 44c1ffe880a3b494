"""When the loop decides, and that no part of it waits for another that fails."""

import asyncio
from collections.abc import Callable

import pytest

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.rollout.beats import Beats, Part, first_of


class World:
    """Ledger and reconciler; a batch with every look."""

    rest_seconds = 0.5

    def __init__(self) -> None:
        self.batches = 0
        self.did: list[str] = []
        self.failing: dict[str, Exception] = {}

    async def next_batch(self, batches: int, seconds: float) -> None:
        await asyncio.sleep(0)
        self.batches += 1

    async def gained(self) -> None:
        await asyncio.Event().wait()

    async def derive(self) -> None:
        self.do("pairs")

    def do(self, name: str) -> None:
        self.did.append(name)
        if error := self.failing.get(name):
            raise error


class Beating:
    """A part of a beat."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name

    rest_seconds = 0.5

    async def beat(self) -> None:
        self._world.do(self._name)


async def turns(world: World, up_to_date: bool) -> Beats:
    parts = (Beating(world, name) for name in ("republishing", "letters", "decisions"))

    async def may_decide() -> bool:
        return up_to_date

    beats = Beats(world, world, *parts, may_decide=may_decide)  # type: ignore[arg-type]
    running = asyncio.create_task(beats.run())
    async with asyncio.timeout(10):
        while world.batches < 3 and not world.did:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return beats


def without_letters(did: list[str]) -> list[str]:
    return [name for name in did if name != "letters"]


async def test_pairs_are_derived_before_anything_is_decided() -> None:
    world = World()
    beats = await turns(world, up_to_date=True)
    assert without_letters(world.did) == ["pairs", "republishing", "decisions"]
    assert "letters" in world.did
    assert (beats.deciding, set(beats.troubles.values())) == (True, {None})


async def test_nothing_is_decided_while_the_ledger_is_behind() -> None:
    world = World()
    beats = await turns(world, up_to_date=False)
    assert world.did == []
    assert not beats.deciding


@pytest.mark.parametrize(
    ("failing", "error", "left"),
    [
        ("letters", PermanentError("a letter is too large"), ["pairs", "republishing", "decisions"]),
        ("decisions", TransientError("Kafka is down"), ["pairs", "republishing", "decisions"]),
        ("republishing", TransientError("Kafka is down"), ["pairs", "republishing"]),
        ("pairs", TransientError("disk full"), ["pairs"]),
    ],
)
async def test_what_fails_is_told_by_name_and_holds_up_only_what_rests_on_it(failing: str, error: Exception, left: list[str]) -> None:
    world = World()
    world.failing = {failing: error}
    beats = await turns(world, up_to_date=True)
    assert without_letters(world.did) == left
    assert "letters" in world.did
    assert {name: trouble for name, trouble in beats.troubles.items() if trouble} == {failing: str(error)}


@pytest.mark.parametrize(("failing", "broken"), [("decisions", True), ("pairs", True), ("letters", False)])
async def test_a_fault_that_nobody_foresaw_ends_nothing_and_shows_where_nothing_is_decided(failing: str, *, broken: bool) -> None:
    world = World()
    world.failing = {failing: ValueError("not foreseen")}
    beats = await turns(world, up_to_date=True)
    assert beats.troubles[failing] == "ValueError: not foreseen"
    assert beats.broken is broken


async def test_pauses_grow_with_each_failure_and_start_again_after_a_success() -> None:
    outcomes: list[Callable[[], None]] = []

    async def beat() -> None:
        outcomes.pop(0)()

    def fail() -> None:
        raise TransientError("down")

    part = Part("a part", beat, 3.0)
    outcomes += [fail] * 4 + [lambda: None, fail]
    assert [await part.attempt() for _ in range(6)] == [0.5, 1.0, 2.0, 3.0, None, 0.5]
    assert part.trouble == "down"


async def test_the_first_of_two_reasons_for_a_beat_is_enough_and_the_other_is_left() -> None:
    one, other = asyncio.Event(), asyncio.Event()
    left: list[str] = []

    async def wait(event: asyncio.Event, name: str) -> None:
        try:
            await event.wait()
        except asyncio.CancelledError:
            left.append(name)
            raise

    other.set()
    await first_of(wait(one, "one"), wait(other, "other"))
    assert left == ["one"]
