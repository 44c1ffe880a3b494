"""Waiting in tests: always bounded, and with a message."""

import asyncio
from collections.abc import Callable


async def eventually(holds: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """Return as soon as `holds()`. For states that offer nothing to await."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not holds():
        if loop.time() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(0.01)
