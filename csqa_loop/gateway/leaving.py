"""Clients that leave before they are answered: nobody works on for them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from csqa_loop.http.problems import Problem

R = TypeVar("R")
CLIENT_LEFT = 499
"""nginx's status for it. Only our own figures ever see it."""


def client_left() -> Problem:
    """The answer that nobody gets."""
    return Problem(CLIENT_LEFT, "Client left", "the client left before it was answered")


async def has_left(receive: Receive) -> None:
    """Return when the client has disconnected. The request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_there(receive: Receive, work: Coroutine[Any, Any, R]) -> R:
    """What `work` returns. It is cancelled when the client disconnects.

    Raises:
        Problem: 499, the client left.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(has_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise client_left()
        return working.result()
    finally:
        await ended(working, leaving)


async def ended(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what still runs and wait until it has ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
