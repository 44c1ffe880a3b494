"""When the loop decides."""

import asyncio

from csqa_loop.errors import TransientError
from csqa_loop.rollout.beats import Beats, first_of


class World:
    """Ledger, reconciler, housekeeper and decider at once; a batch with every look."""

    rest_seconds = 0.5

    def __init__(self) -> None:
        self.batches = 0
        self.did: list[str] = []
        self.fails = False

    async def next_batch(self, batches: int, seconds: float) -> None:
        await asyncio.sleep(0)
        self.batches += 1

    async def gained(self) -> None:
        await asyncio.Event().wait()

    async def derive(self) -> None:
        self.did.append("derive")

    async def beat(self) -> None:
        self.did.append("beat")
        if self.fails:
            raise TransientError("Kafka is down")


async def turns(world: World, up_to_date: bool) -> Beats:
    beats = Beats(world, world, world, world, up_to_date=lambda: up_to_date)  # type: ignore[arg-type]
    running = asyncio.create_task(beats.run())
    async with asyncio.timeout(10):
        while world.batches < 3 and not world.did:
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return beats


async def test_pairs_are_derived_before_anything_is_decided() -> None:
    world = World()
    beats = await turns(world, up_to_date=True)
    assert world.did == ["derive", "beat", "beat"]
    assert (beats.deciding, beats.trouble) == (True, None)


async def test_nothing_is_decided_while_the_ledger_is_behind() -> None:
    world = World()
    beats = await turns(world, up_to_date=False)
    assert world.did == []
    assert not beats.deciding


async def test_what_went_wrong_is_told() -> None:
    world = World()
    world.fails = True
    beats = await turns(world, up_to_date=True)
    assert world.did == ["derive", "beat"]
    assert beats.trouble == "Kafka is down"


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
