"""A gateway on a real socket, in a thread of its own: real clients, real disconnects."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from csqa_loop.gateway.app import create_app
from tests.fakes.gateway import World


class Live:
    """Where it listens, and its loop for what must run inside it."""

    def __init__(self, url: str, loop: asyncio.AbstractEventLoop) -> None:
        self.url = url
        self.loop = loop


@contextmanager
def serving(world: World) -> Iterator[Live]:
    """The gateway of `world`, ready, until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(world.parts),
        loop="uvloop",
        http="httptools",
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    started = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        serve = asyncio.create_task(server.serve(sockets=[listener]))
        while not (serve.done() or (server.started and world.parts._answerer is not None and world.parts._caught_up)):
            await asyncio.sleep(0.005)
        started.set()
        await serve

    thread = threading.Thread(target=lambda: uvicorn_run(config, run), daemon=True)
    thread.start()
    assert started.wait(20)
    try:
        yield Live(f"http://127.0.0.1:{listener.getsockname()[1]}", loops[0])
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def uvicorn_run(config: uvicorn.Config, run: object) -> None:
    """As uvicorn.run does, in this thread."""
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run())  # type: ignore[operator]
